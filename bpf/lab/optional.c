#include "optional.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"

static int map_variables(struct optional *optional)
{
	int fd = bpf_object__find_map_fd_by_name(optional->object, ".bss");
	void *base = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	optional->rounds = find_variable(bpf_object__btf(optional->object), base, "optional_rounds");
	if (optional->rounds)
		return 0;
	munmap(base, sysconf(_SC_PAGESIZE));
	return -ENOENT;
}

static int load(struct optional *optional, const char *agent_object, const struct config *config,
		const struct loaded *loaded)
{
	const char *slash = strrchr(agent_object, '/');
	char path[4096 + MAX_TEXT];

	snprintf(path, sizeof(path), "%.*s/optional.bpf.o", slash ? (int)(slash - agent_object) : 1,
		 slash ? agent_object : ".");
	optional->object = bpf_object__open_file(path, NULL);
	if (!optional->object)
		return -errno;
	if (bpf_map__reuse_fd(bpf_object__find_map_by_name(optional->object, "filters"), loaded->filters_fd) ||
	    bpf_object__load(optional->object) || map_variables(optional))
		return -errno;
	*optional->rounds = config->optional_rounds;
	optional->link = bpf_program__attach(bpf_object__find_program_by_name(optional->object, "lab_optional"));
	return optional->link ? 0 : -errno;
}

int optional_follow(struct optional *optional, const char *agent_object, const struct config *config,
		    const struct loaded *loaded)
{
	int error;

	if (!config->optional_program) {
		if (optional->object)
			log_line(LOG_INFO, "optional: lab_optional is detached and unloaded");
		optional_close(optional);
		return 0;
	}
	if (optional->object) {
		*optional->rounds = config->optional_rounds;
		return 0;
	}
	error = load(optional, agent_object, config, loaded);
	if (error) {
		log_line(LOG_WARN, "optional: lab_optional cannot be loaded: %s", strerror(-error));
		optional_close(optional);
		return error;
	}
	log_line(LOG_INFO, "optional: lab_optional is attached");
	return 0;
}

void optional_close(struct optional *optional)
{
	bpf_link__destroy(optional->link);
	if (optional->rounds)
		munmap((void *)((unsigned long)optional->rounds & -sysconf(_SC_PAGESIZE)), sysconf(_SC_PAGESIZE));
	bpf_object__close(optional->object);
	memset(optional, 0, sizeof(*optional));
}
