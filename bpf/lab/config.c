#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "quantity.h"

enum type { BYTES, DURATION, COUNT, WORD, TEXT, FILTER };

struct field {
	const char *path;
	enum type type;
	size_t offset; /* in struct config; for FILTER the enum filter_kind */
	__u64 least, most;
	const char *const *words; /* for WORD: its index is the value; ends with NULL */
};

static const char *const wakeup_words[] = {"auto", "none", "force", "every", NULL};
static const char *const cache_words[] = {"hash", "lru_hash", NULL};
static const char *const bool_words[] = {"false", "true", NULL};

#define SECOND 1000000000ULL
#define AT(member) offsetof(struct config, member)

static const struct field fields[] = {
	{"ring.size", BYTES, AT(ring_bytes), 4096, 256ULL << 20, NULL},
	{"ring.wakeup", WORD, AT(wakeup), 0, 0, wakeup_words},
	{"ring.wakeup_bytes", BYTES, AT(wakeup_bytes), 1, 256ULL << 20, NULL},
	{"reader.poll_interval", DURATION, AT(poll_interval_ns), 0, 60 * SECOND, NULL},
	{"reader.batch_size", COUNT, AT(batch_size), 1, 4096, NULL},
	{"reader.workers", COUNT, AT(workers), 1, 64, NULL},
	{"reader.queue_size", COUNT, AT(queue_size), 1, 1 << 20, NULL},
	{"sampling.one_in", COUNT, AT(sample_one_in), 1, 1000000, NULL},
	{"filter.comms", FILTER, FILTER_COMM, 0, 0, NULL},
	{"filter.pids", FILTER, FILTER_PID, 0, 0, NULL},
	{"filter.uids", FILTER, FILTER_UID, 0, 0, NULL},
	{"filter.syscalls", FILTER, FILTER_SYSCALL, 0, 0, NULL},
	{"filter.exclude_comms", FILTER, FILTER_EXCLUDE_COMM, 0, 0, NULL},
	{"filter.exclude_pids", FILTER, FILTER_EXCLUDE_PID, 0, 0, NULL},
	{"filter.exclude_uids", FILTER, FILTER_EXCLUDE_UID, 0, 0, NULL},
	{"filter.exclude_syscalls", FILTER, FILTER_EXCLUDE_SYSCALL, 0, 0, NULL},
	{"cache.size", COUNT, AT(cache_entries), 0, 10000000, NULL},
	{"cache.kind", WORD, AT(cache_lru), 0, 0, cache_words},
	{"cache.ttl", DURATION, AT(cache_ttl_ns), SECOND / 10, 86400 * SECOND, NULL},
	{"cache.clean", WORD, AT(cache_clean), 0, 0, bool_words},
	{"optional.program", WORD, AT(optional_program), 0, 0, bool_words},
	{"exporter.queue_size", COUNT, AT(export_queue_size), 1, 1 << 20, NULL},
	{"exporter.to", TEXT, AT(export_to), 0, 0, NULL},
	{"pin.directory", TEXT, AT(pin_directory), 0, 0, NULL},
	{"metrics.address", TEXT, AT(metrics_address), 0, 0, NULL},
	{"metrics.port", COUNT, AT(metrics_port), 0, 65535, NULL},
	{"log.file", TEXT, AT(log_file), 0, 0, NULL},
	{"practice.work_per_event", DURATION, AT(work_ns), 0, SECOND, NULL},
	{"practice.export_per_event", DURATION, AT(export_ns), 0, SECOND, NULL},
	{"practice.leak_per_event", BYTES, AT(leak_bytes), 0, 1 << 20, NULL},
	{"practice.leak_limit", BYTES, AT(leak_limit_bytes), 0, 4ULL << 30, NULL},
	{"practice.user_cache", BYTES, AT(user_cache_bytes), 0, 4ULL << 30, NULL},
	{"practice.spike", BYTES, AT(spike_bytes), 0, 4ULL << 30, NULL},
	{"practice.payloads", COUNT, AT(payload_entries), 0, 1 << 20, NULL},
	{"practice.optional_rounds", COUNT, AT(optional_rounds), 0, 32, NULL},
	{"practice.crash_on", TEXT, AT(crash_on), 0, 0, NULL},
	{"practice.stuck_after_events", COUNT, AT(stuck_after_events), 0, ~0ULL, NULL},
	{"practice.bad_program", TEXT, AT(bad_program), 0, 0, NULL},
	{"practice.forbid_bpf", WORD, AT(forbid_bpf), 0, 0, bool_words},
	{"practice.memlock_limit", BYTES, AT(memlock_bytes), 0, 4ULL << 30, NULL},
	{"practice.retry_after", DURATION, AT(retry_ns), 0, 3600 * SECOND, NULL},
};

static const struct config defaults = {
	.ring_bytes = 256 << 10,
	.wakeup_bytes = 64 << 10,
	.batch_size = 64,
	.workers = 1,
	.queue_size = 1024,
	.sample_one_in = 1,
	.cache_entries = 10240,
	.cache_lru = 1,
	.cache_ttl_ns = 30 * SECOND,
	.cache_clean = 1,
	.export_queue_size = 8192,
	.export_to = "/dev/null",
	.metrics_address = "127.0.0.1",
	.metrics_port = 9435,
	.leak_limit_bytes = 256 << 20,
};

/* One reading of one file: what is filled, and where the first complaint goes. */
struct reading {
	const char *file;
	yaml_document_t document;
	struct config *config;
	char *error;
	size_t error_size;
};

__attribute__((format(printf, 3, 4))) static int complain(struct reading *r, const yaml_mark_t *mark,
							  const char *format, ...)
{
	int length = snprintf(r->error, r->error_size, "%s:%zu:%zu: ", r->file, mark->line + 1, mark->column + 1);
	va_list arguments;

	if (length < 0 || (size_t)length >= r->error_size)
		return -1;
	va_start(arguments, format);
	vsnprintf(r->error + length, r->error_size - length, format, arguments);
	va_end(arguments);
	return -1;
}

static int add_filter(struct reading *r, const struct field *field, const yaml_node_t *node)
{
	struct filter_key key = {.kind = field->offset};
	const char *text = (const char *)node->data.scalar.value;
	bool by_comm = key.kind == FILTER_COMM || key.kind == FILTER_EXCLUDE_COMM;
	bool by_call = key.kind == FILTER_SYSCALL || key.kind == FILTER_EXCLUDE_SYSCALL;

	if (node->type != YAML_SCALAR_NODE || !*text)
		return complain(r, &node->start_mark, "%s holds single values", field->path);
	if (r->config->filter_count == MAX_FILTERS)
		return complain(r, &node->start_mark, "more than %d filter entries", MAX_FILTERS);
	if (by_comm && strlen(text) >= COMM_BYTES)
		return complain(r, &node->start_mark, "%s: '%s' is longer than 15 characters, as no process name is",
				field->path, text);
	if (by_comm)
		memcpy(key.comm, text, strlen(text));
	else if (by_call ? !parse_syscall(text, &key.number) : !parse_count(text, &key.number))
		return complain(r, &node->start_mark, "%s: '%s' is not a number", field->path, text);
	r->config->filters[r->config->filter_count++] = key;
	return 0;
}

static int set_word(struct reading *r, const struct field *field, const yaml_node_t *node, __u64 *value)
{
	const char *text = (const char *)node->data.scalar.value;
	char known[128] = "";

	for (*value = 0; field->words[*value]; ++*value) {
		if (strcasecmp(text, field->words[*value]) == 0)
			return 0;
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", *value ? ", " : "",
			 field->words[*value]);
	}
	return complain(r, &node->start_mark, "%s: '%s' is not one of %s", field->path, text, known);
}

static int set_number(struct reading *r, const struct field *field, const yaml_node_t *node, __u64 *value)
{
	const char *text = (const char *)node->data.scalar.value;
	bool parsed = field->type == BYTES	? parse_bytes(text, value)
		      : field->type == DURATION ? parse_duration(text, value)
						: parse_count(text, value);
	const char *what = field->type == BYTES	     ? "a size like 256KiB"
			   : field->type == DURATION ? "a duration like 100ms"
						     : "a whole number";

	if (!parsed)
		return complain(r, &node->start_mark, "%s: '%s' is not %s", field->path, text, what);
	if (*value < field->least || *value > field->most)
		return complain(r, &node->start_mark, "%s: %s is outside %llu to %llu%s", field->path, text, field->least,
				field->most, field->type == DURATION ? " ns" : "");
	return 0;
}

static int set_list(struct reading *r, const struct field *field, const yaml_node_t *node)
{
	if (node->type != YAML_SEQUENCE_NODE)
		return complain(r, &node->start_mark, "%s is a list, like [a, b]", field->path);
	for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
		if (add_filter(r, field, yaml_document_get_node(&r->document, *item)))
			return -1;
	}
	return 0;
}

static int set_field(struct reading *r, const struct field *field, const yaml_node_t *node)
{
	void *place = (char *)r->config + field->offset;
	const char *text;
	__u64 value;

	if (node->type == YAML_SCALAR_NODE && !node->data.scalar.length)
		return 0; /* `key:` with nothing behind it keeps the default */
	if (field->type == FILTER)
		return set_list(r, field, node);
	if (node->type != YAML_SCALAR_NODE)
		return complain(r, &node->start_mark, "%s is a single value", field->path);
	if (field->type == TEXT) {
		text = (const char *)node->data.scalar.value;
		if (strlen(text) >= MAX_TEXT)
			return complain(r, &node->start_mark, "%s is longer than %d characters", field->path, MAX_TEXT - 1);
		strcpy(place, text);
		return 0;
	}
	if (field->type == WORD ? set_word(r, field, node, &value) : set_number(r, field, node, &value))
		return -1;
	memcpy(place, &value, sizeof(value));
	return 0;
}

static bool is_section(const char *path)
{
	size_t length = strlen(path);

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strncmp(fields[i].path, path, length) == 0 && fields[i].path[length] == '.')
			return true;
	}
	return false;
}

static int read_mapping(struct reading *r, const yaml_node_t *mapping, const char *section);

static int read_pair(struct reading *r, const char *path, const yaml_node_t *key, const yaml_node_t *value)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(fields[i].path, path) == 0)
			return set_field(r, &fields[i], value);
	}
	if (!is_section(path))
		return complain(r, &key->start_mark, "there is no setting '%s'", path);
	if (value->type == YAML_SCALAR_NODE && !value->data.scalar.length)
		return 0;
	return read_mapping(r, value, path);
}

static int read_mapping(struct reading *r, const yaml_node_t *mapping, const char *section)
{
	char path[MAX_TEXT];

	if (mapping->type != YAML_MAPPING_NODE)
		return complain(r, &mapping->start_mark, "%s holds 'key: value' pairs", *section ? section : "the file");
	for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start; pair < mapping->data.mapping.pairs.top; pair++) {
		yaml_node_t *key = yaml_document_get_node(&r->document, pair->key);
		yaml_node_t *value = yaml_document_get_node(&r->document, pair->value);

		if (key->type != YAML_SCALAR_NODE)
			return complain(r, &key->start_mark, "a key is a single word");
		snprintf(path, sizeof(path), "%s%s%s", section, *section ? "." : "", (char *)key->data.scalar.value);
		if (read_pair(r, path, key, value))
			return -1;
	}
	return 0;
}

static int check(struct reading *r)
{
	struct in_addr address;
	const yaml_mark_t start = {0};

	if (inet_pton(AF_INET, r->config->metrics_address, &address) != 1)
		return complain(r, &start, "metrics.address: '%s' is not an IPv4 address", r->config->metrics_address);
	return 0;
}

static int read_document(struct reading *r, FILE *input)
{
	yaml_parser_t parser;
	yaml_node_t *root;
	int result;

	if (!yaml_parser_initialize(&parser))
		return complain(r, &(yaml_mark_t){0}, "no memory");
	yaml_parser_set_input_file(&parser, input);
	if (!yaml_parser_load(&parser, &r->document)) {
		result = complain(r, &parser.problem_mark, "%s", parser.problem ? parser.problem : "not YAML");
		yaml_parser_delete(&parser);
		return result;
	}
	root = yaml_document_get_root_node(&r->document);
	result = root ? read_mapping(r, root, "") : 0;
	yaml_document_delete(&r->document);
	yaml_parser_delete(&parser);
	return result ? result : check(r);
}

int config_read(const char *file, struct config *config, char *error, size_t error_size)
{
	struct reading reading = {.file = file, .config = config, .error = error, .error_size = error_size};
	FILE *input = fopen(file, "re");
	int result;

	*config = defaults;
	if (!input) {
		snprintf(error, error_size, "%s: %s", file, strerror(errno));
		return -1;
	}
	result = read_document(&reading, input);
	fclose(input);
	return result;
}
