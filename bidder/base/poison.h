/* Functions that overrun buffers or hide errors. Included by the build in every file of ours. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol atof gets
