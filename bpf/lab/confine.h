/* Takes from the agent what others lack through no fault of their own: faults to practise on. */
#pragma once

#include "config.h"

/* Set the limits and filters that the configuration asks for. Returns 0 or -errno. */
int confine(const struct config *config);
