/* Admin endpoints that write about one person: POST /consent, POST /audience. */
#pragma once

void admin_person_register(void);
