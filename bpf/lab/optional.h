/* The optional program: loaded when the configuration asks for it, and missed by nobody. */
#pragma once

#include "config.h"
#include "loader.h"

struct optional {
	struct bpf_object *object;
	struct bpf_link *link;
	volatile __u64 *rounds; /* mapped; NULL while it is not loaded */
};

/* Load or unload it as `config` says. Returns 0; or -errno, logged, and it is then not loaded. */
int optional_follow(struct optional *optional, const char *agent_object, const struct config *config,
		    const struct loaded *loaded);

void optional_close(struct optional *optional);
