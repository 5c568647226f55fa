#include "loader.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define SWEEP_BATCH 4096

__u64 ring_size(__u64 wanted)
{
	__u64 size = sysconf(_SC_PAGESIZE);

	while (size < wanted)
		size *= 2;
	return size;
}

int ring_create(__u64 bytes)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "events", 0, 0, bytes, NULL);

	return fd < 0 ? -errno : fd;
}

int ring_use(struct loaded *loaded, int ring_fd)
{
	__u32 slot = 0;

	return bpf_map_update_elem(loaded->rings_fd, &slot, &ring_fd, BPF_ANY) ? -errno : 0;
}

volatile __u64 *find_variable(const struct btf *btf, void *base, const char *name)
{
	int id = btf__find_by_name_kind(btf, ".bss", BTF_KIND_DATASEC);
	const struct btf_type *section = id > 0 ? btf__type_by_id(btf, id) : NULL;
	const struct btf_var_secinfo *at = section ? btf_var_secinfos(section) : NULL;

	for (int i = 0; section && i < btf_vlen(section); i++) {
		const struct btf_type *variable = btf__type_by_id(btf, at[i].type);

		if (strcmp(btf__name_by_offset(btf, variable->name_off), name) == 0)
			return (volatile __u64 *)((char *)base + at[i].offset);
	}
	return NULL;
}

static int map_variables(struct loaded *loaded)
{
	struct variables *v = &loaded->variables;
	const struct btf *btf = bpf_object__btf(loaded->object);
	void *base = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, loaded->variables_fd, 0);
	struct {
		volatile __u64 **place;
		const char *name;
	} wanted[] = {{&v->sample_n, "sample_n"},	  {&v->filters_in_use, "filters_in_use"},
		      {&v->wakeup, "wakeup"},		  {&v->wakeup_bytes, "wakeup_bytes"},
		      {&v->cache_on, "cache_on"},	  {&v->payloads_on, "payloads_on"},
		      {&v->matched, "matched"},		  {&v->received, "received"},
		      {&v->dropped, "dropped"},		  {&v->cache_failed, "cache_failed"}};

	if (base == MAP_FAILED)
		return -errno;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		*wanted[i].place = find_variable(btf, base, wanted[i].name);
		if (!*wanted[i].place)
			return -ENOENT;
	}
	return 0;
}

static int reuse(struct loaded *loaded, const char *map, int fd)
{
	return bpf_map__reuse_fd(bpf_object__find_map_by_name(loaded->object, map), fd);
}

static int prepare(struct loaded *loaded, const struct config *config, const struct loaded *before)
{
	struct bpf_map *cache = bpf_object__find_map_by_name(loaded->object, "cache");

	loaded->cache_entries = config->cache_entries;
	loaded->cache_lru = config->cache_lru;
	bpf_map__set_max_entries(cache, config->cache_entries ? config->cache_entries : 1);
	bpf_map__set_type(cache, config->cache_lru ? BPF_MAP_TYPE_LRU_HASH : BPF_MAP_TYPE_HASH);
	bpf_map__set_map_flags(cache, config->cache_lru ? 0 : BPF_F_NO_PREALLOC);
	bpf_map__set_max_entries(bpf_object__find_map_by_name(loaded->object, "payloads"),
				 config->payload_entries ? config->payload_entries : 1);
	if (!before)
		return 0;
	if (reuse(loaded, "rings", before->rings_fd) || reuse(loaded, "filters", before->filters_fd) ||
	    reuse(loaded, ".bss", before->variables_fd))
		return -errno;
	return 0;
}

static int find_maps(struct loaded *loaded, const struct loaded *before)
{
	loaded->rings_fd = bpf_object__find_map_fd_by_name(loaded->object, "rings");
	loaded->filters_fd = bpf_object__find_map_fd_by_name(loaded->object, "filters");
	loaded->cache_fd = bpf_object__find_map_fd_by_name(loaded->object, "cache");
	loaded->variables_fd = bpf_object__find_map_fd_by_name(loaded->object, ".bss");
	if (!before)
		return map_variables(loaded);
	loaded->variables = before->variables; /* the same map */
	return 0;
}

/* Log why it could not be done, and let go of it. */
static int give_up(struct loaded *loaded, int error)
{
	log_line(LOG_ERROR, "failed to load BPF programs: %s", strerror(-error));
	bpf_object__close(loaded->object);
	return error;
}

/* Load what every kernel refuses; 0 where none is asked for. */
static int load_bad(const char *file, const struct config *config)
{
	const char *slash = strrchr(file, '/');
	struct bpf_object *bad;
	char path[4096 + MAX_TEXT];
	int error;

	if (!*config->bad_program)
		return 0;
	snprintf(path, sizeof(path), "%.*s/bad/%s.bpf.o", slash ? (int)(slash - file) : 1, slash ? file : ".",
		 config->bad_program);
	bad = bpf_object__open_file(path, NULL);
	if (!bad)
		return -errno;
	error = bpf_object__load(bad);
	bpf_object__close(bad);
	return error;
}

static void pin_path(const struct config *config, char *path, size_t size)
{
	snprintf(path, size, "%s/filters", config->pin_directory);
}

/* Pin the filters, where an operator's tools would look for them. */
static int pin(struct loaded *loaded, const struct config *config)
{
	char path[2 * MAX_TEXT];

	if (!*config->pin_directory)
		return 0;
	loader_unpin(config); /* of an agent that was killed */
	pin_path(config, path, sizeof(path));
	return bpf_map__pin(bpf_object__find_map_by_name(loaded->object, "filters"), path);
}

void loader_unpin(const struct config *config)
{
	char path[2 * MAX_TEXT];

	pin_path(config, path, sizeof(path));
	if (*config->pin_directory)
		unlink(path);
}

int loader_load(struct loaded *loaded, const char *file, const struct config *config, const struct loaded *before)
{
	int error;

	memset(loaded, 0, sizeof(*loaded));
	loaded->object = bpf_object__open_file(file, NULL);
	if (!loaded->object) {
		error = -errno;
		log_line(LOG_ERROR, "cannot open BPF object %s: %s", file, strerror(-error));
		return error;
	}
	error = prepare(loaded, config, before);
	error = error ? error : bpf_object__load(loaded->object);
	error = error ? error : load_bad(file, config);
	error = error || before ? error : pin(loaded, config);
	error = error ? error : find_maps(loaded, before);
	return error ? give_up(loaded, error) : 0;
}

static int attach(struct loaded *loaded)
{
	loaded->link = bpf_program__attach(bpf_object__find_program_by_name(loaded->object, "on_syscall"));
	return loaded->link ? 0 : -errno;
}

int loader_attach(struct loaded *loaded, struct loaded *before)
{
	int error;

	if (before)
		bpf_link__destroy(before->link); /* first, so that no event is recorded twice */
	error = attach(loaded);
	if (error && before && attach(before))
		log_line(LOG_ERROR, "the former program could not be attached again");
	if (error)
		return give_up(loaded, error);
	if (before)
		bpf_object__close(before->object);
	return 0;
}

void loader_close(struct loaded *loaded)
{
	bpf_link__destroy(loaded->link);
	bpf_object__close(loaded->object);
}

/* Remove the entries that `config` has no more; its own stay, so that no event slips by meanwhile. */
static void remove_other_filters(struct loaded *loaded, const struct config *config)
{
	struct filter_key stale[MAX_FILTERS], key;
	size_t count = 0;
	void *after = NULL;

	while (count < MAX_FILTERS && bpf_map_get_next_key(loaded->filters_fd, after, &key) == 0) {
		bool kept = false;

		for (size_t i = 0; i < config->filter_count; i++)
			kept |= memcmp(&config->filters[i], &key, sizeof(key)) == 0;
		if (!kept)
			stale[count++] = key;
		after = &key;
	}
	for (size_t i = 0; i < count; i++)
		bpf_map_delete_elem(loaded->filters_fd, &stale[i]);
}

int loader_filter(struct loaded *loaded, const struct config *config)
{
	const __u8 present = 1;
	__u64 in_use = 0;

	for (size_t i = 0; i < config->filter_count; i++) {
		if (bpf_map_update_elem(loaded->filters_fd, &config->filters[i], &present, BPF_ANY))
			return -errno;
		in_use |= 1ULL << config->filters[i].kind;
	}
	*loaded->variables.filters_in_use = in_use;
	remove_other_filters(loaded, config);
	return 0;
}

/* Delete those of `count` entries that nobody touched for `ttl_ns`; how many are left. */
static long remove_old(int cache_fd, const struct cache_key *keys, const struct cache_entry *entries, __u32 count, __u64 ttl_ns)
{
	struct timespec now;
	long left = count;

	clock_gettime(CLOCK_MONOTONIC, &now);
	for (__u32 i = 0; ttl_ns && i < count; i++) {
		if (entries[i].last_ns + ttl_ns < (__u64)now.tv_sec * 1000000000 + now.tv_nsec)
			left -= bpf_map_delete_elem(cache_fd, &keys[i]) == 0;
	}
	return left;
}

long cache_sweep(struct loaded *loaded, __u64 ttl_ns)
{
	static struct cache_key keys[SWEEP_BATCH];
	static struct cache_entry entries[SWEEP_BATCH];
	__u32 position, count;
	void *from = NULL;
	long total = 0;
	int result;

	do {
		count = SWEEP_BATCH;
		result = bpf_map_lookup_batch(loaded->cache_fd, from, &position, keys, entries, &count, NULL);
		if (result && errno != ENOENT)
			return -errno;
		total += remove_old(loaded->cache_fd, keys, entries, count, ttl_ns);
		from = &position;
	} while (!result);
	return total;
}
