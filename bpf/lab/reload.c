#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "log.h"
#include "reader.h"

void settings_store(struct agent *agent, const struct config *config)
{
	struct variables *v = &agent->loaded.variables;

	*v->wakeup = config->wakeup;
	*v->wakeup_bytes = config->wakeup_bytes;
	*v->cache_on = config->cache_entries > 0;
	*v->payloads_on = config->payload_entries > 0;
	/* a rate that somebody set through the variable stands until the file says another */
	if (!agent->status.generation || config->sample_one_in != agent->config.sample_one_in)
		*v->sample_n = config->sample_one_in;
}

static void refuse(struct agent *agent, const char *reason)
{
	log_line(LOG_ERROR, "reload: %s; the former configuration stays in force", reason);
	snprintf(agent->degraded, sizeof(agent->degraded), "%s", reason);
	agent->status.reloads_failed++;
}

static int reload_cache(struct agent *agent, const struct config *next)
{
	struct loaded fresh;

	if (next->cache_entries == agent->loaded.cache_entries && next->cache_lru == agent->loaded.cache_lru)
		return 0;
	if (loader_load(&fresh, agent->object_file, next, &agent->loaded) || loader_attach(&fresh, &agent->loaded))
		return -1;
	agent->loaded = fresh;
	log_line(LOG_INFO, "cache: now %llu entries, %s; it starts empty", next->cache_entries,
		 next->cache_lru ? "lru_hash" : "hash");
	return 0;
}

/* Make the reader go on as `next` says, in a ring of its size. */
static int reload_reader(struct agent *agent, const struct config *next)
{
	__u64 size = ring_size(next->ring_bytes), before = *agent->loaded.variables.dropped;
	int fd = size != agent->status.ring_bytes ? ring_create(size) : -1;
	long lost;

	if (size != agent->status.ring_bytes && fd < 0) {
		log_line(LOG_ERROR, "ringbuf: cannot make one of %llu bytes: %s", size, strerror(-fd));
		return -1;
	}
	lost = reader_adopt(next, fd);
	if (lost < 0) {
		log_line(LOG_ERROR, "reader: cannot take the new configuration: %s", strerror(-lost));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (fd >= 0)
		log_line(LOG_INFO, "ringbuf: %llu bytes (%llu asked for), was %llu; events lost in the swap: %llu", size,
			 next->ring_bytes, agent->status.ring_bytes,
			 lost + (*agent->loaded.variables.dropped - before));
	agent->status.ring_bytes = size;
	return 0;
}

/* Everything that can fail; what was done before a failure is taken back. */
static const char *take_over(struct agent *agent, const struct config *next)
{
	const char *failed = NULL;

	if (reload_reader(agent, next))
		return "the reader did not take the new configuration";
	if (reload_cache(agent, next))
		failed = "the program could not be loaded with the new cache";
	else if (loader_filter(&agent->loaded, next))
		failed = "the filters could not be set";
	else if (optional_follow(&agent->optional, agent->object_file, next, &agent->loaded))
		failed = "the optional program could not be loaded";
	if (failed && (reload_reader(agent, &agent->config) || loader_filter(&agent->loaded, &agent->config)))
		log_line(LOG_ERROR, "reload: the former configuration could not be put back in full");
	return failed;
}

void reload(struct agent *agent)
{
	char reason[1024];
	const char *failed;
	struct config next;

	log_line(LOG_INFO, "reload: reading %s", agent->config_file);
	if (config_read(agent->config_file, &next, reason, sizeof(reason))) {
		refuse(agent, reason);
		return;
	}
	if (next.metrics_port != agent->config.metrics_port || strcmp(next.log_file, agent->config.log_file) ||
	    strcmp(next.export_to, agent->config.export_to) ||
	    strcmp(next.pin_directory, agent->config.pin_directory))
		log_line(LOG_WARN, "reload: metrics.port, log.file, exporter.to and pin.directory take a restart to change");
	failed = take_over(agent, &next);
	if (failed) {
		refuse(agent, failed);
		return;
	}
	settings_store(agent, &next);
	agent->config = next;
	agent->degraded[0] = '\0';
	agent->status.generation++;
	agent->status.reloads_done++;
	log_line(LOG_INFO, "reload: configuration %llu in force", agent->status.generation);
}
