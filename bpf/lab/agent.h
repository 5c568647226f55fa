/* The agent as its main thread knows it, and what is done to it on SIGHUP. */
#pragma once

#include "config.h"
#include "loader.h"
#include "metrics.h"
#include "optional.h"

struct agent {
	const char *config_file, *pid_file;
	char object_file[4096];
	bool supervised;
	long seconds; /* to live; 0: until told to end */
	struct config config;
	struct loaded loaded;
	struct optional optional;
	struct status status;
	char degraded[1024];
	__u64 logged_drops, ticks;
};

/* Store what the program reads at every event. */
void settings_store(struct agent *agent, const struct config *config);

/* Read the configuration again and take it over, or leave everything as it was and tell why. */
void reload(struct agent *agent);
