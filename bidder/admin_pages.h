/* The supervisor's own admin pages: /healthz /readyz /metrics /metrics/lines POST /catalog */
#pragma once

void admin_pages_register(void);
