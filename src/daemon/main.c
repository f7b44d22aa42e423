/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xviod: what starts, in order, and is undone in reverse. The only file that knows all folders.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/watchdog.h"
#include "control/host.h"
#include "control/hostfile.h"
#include "control/model.h"
#include "control/notify.h"
#include "control/server.h"
#include "control/txn.h"
#include "fastpath/flow.h"
#include "fastpath/vtep.h"
#include "ovs/server.h"
#include "port/eal.h"
#include "table/rcu.h"
#include "virtio/ring_place.h"
#include "virtio/vhost_user.h"

#define DEFAULT_HOST_FILE  "/etc/xvio/host.yaml"
#define DEFAULT_API_SOCKET "/run/xvio/xviod.sock"

struct options {
	const char *host_file; /* NULL = the default one, if it exists */
	const char *api_socket;
	const char *log_level; /* NULL = as the host file says */
	bool check;
};

struct daemon {
	struct options options;
	cpu_set_t allowed;
	struct event_base *events;
	struct xv_host *host;
};

static void usage(FILE *f)
{
	fprintf(f,
		"Usage: xviod [-c HOST.yaml] [-s API_SOCKET] [-l LEVEL] [--check] [-V] [-h]\n"
		"Express Virtio: connects virtual machines at the speed of their rings.\n\n"
		"  -c, --config FILE   host file (default " DEFAULT_HOST_FILE ", if it exists)\n"
		"  -s, --socket PATH   API socket (default " DEFAULT_API_SOCKET ")\n"
		"  -l, --log-level L   error, warning, info or debug; goes before the host file's\n"
		"      --check         say whether the host file is valid, start nothing\n"
		"  -V, --version       print the version\n"
		"  -h, --help          print this\n\n"
		"Stops on SIGTERM and SIGINT, reads the host file again on SIGHUP. See "
		"xviod(8).\n");
}

/* 0 = go on, 1 = done, -EINVAL = wrong usage. */
static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option long_options[] = {
		{"config", required_argument, NULL, 'c'},
		{"socket", required_argument, NULL, 's'},
		{"log-level", required_argument, NULL, 'l'},
		{"check", no_argument, NULL, 'C'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	enum xv_log_level level;
	int c;

	*options = (struct options){.api_socket = DEFAULT_API_SOCKET};
	while ((c = getopt_long(argc, argv, "c:s:l:Vh", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			options->host_file = optarg;
			break;
		case 's':
			options->api_socket = optarg;
			break;
		case 'l':
			options->log_level = optarg;
			if (xv_log_level_parse(optarg, &level) < 0) {
				fprintf(stderr, "xviod: there is no log level %s\n", optarg);
				return -EINVAL;
			}
			xv_log_set_level(level);
			break;
		case 'C':
			options->check = true;
			break;
		case 'V':
			printf("xviod %s\n", XVIO_VERSION);
			return 1;
		case 'h':
			usage(stdout);
			return 1;
		default:
			usage(stderr);
			return -EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "xviod: unexpected argument %s\n", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

/* One line, then the caller leaves. */
static void complain(const struct xv_err *err, int rc, const char *file, const char *doing)
{
	char sentence[sizeof(*err) + 64];

	if (err->code == XV_ERR_NONE)
		snprintf(sentence, sizeof(sentence), "%s", strerror(-rc));
	else
		xv_err_sentence(err, file, sentence, sizeof(sentence));
	xv_log(XV_LOG_ERROR, "xviod", "%s%s%s", doing ? doing : "", doing ? ": " : "", sentence);
}

/* The host file as a model; without one, a host of defaults. */
static int read_model(const struct daemon *d, json_t **model, json_t **lines, const char **file,
		      struct xv_err *err)
{
	const char *path = d->options.host_file;
	char *text = NULL;
	size_t len = 0;
	json_t *daemon;
	int rc = 0;

	if (path == NULL && access(DEFAULT_HOST_FILE, F_OK) == 0)
		path = DEFAULT_HOST_FILE;
	*file = path;
	if (path != NULL)
		rc = xv_hostfile_read(path, &text, &len, err);
	if (rc == 0)
		rc = xv_model_parse(text ? text : "", len, &d->allowed, model, lines, err);
	free(text);
	if (rc == 0 && d->options.log_level != NULL) {
		daemon = xv_model_get(*model, "daemon", NULL);
		json_object_set_new(daemon, "log_level", json_string(d->options.log_level));
	}
	return rc;
}

/* SIGHUP: as `xvioctl apply` of the host file; a bad one changes nothing. */
static void reload(evutil_socket_t signum, short what, void *arg)
{
	struct daemon *d = arg;
	json_t *model, *lines = NULL, *changes;
	struct xv_err err = {0};
	struct timespec now;
	const char *file;
	int rc;

	clock_gettime(CLOCK_MONOTONIC, &now);
	xv_notify("RELOADING=1\nMONOTONIC_USEC=%lld",
		  (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	rc = read_model(d, &model, &lines, &file, &err);
	if (rc == 0) {
		rc = xv_txn_apply(d->host, model, lines, false, &changes, &err);
		json_decref(lines);
		json_decref(rc == 0 ? changes : model);
	}
	if (rc < 0)
		complain(&err, rc, file, "reload refused, nothing changed");
	else
		xv_log(XV_LOG_INFO, "xviod", "host file read again");
	xv_notify("READY=1\nSTATUS=%s",
		  rc < 0 ? "Running; the last reload was refused" : "Running");
}

static void stop(evutil_socket_t signum, short what, void *arg)
{
	struct daemon *d = arg;

	xv_log(XV_LOG_INFO, "xviod", "stopping");
	xv_notify("STOPPING=1");
	event_base_loopbreak(d->events);
}

/* Each vhost queue takes two descriptors; the soft limit of 1024 is historic. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Next to the API socket: one file, one daemon. */
static void open_ring_places(const char *api_socket)
{
	static const char suffix[] = ".sock";
	size_t len = strlen(api_socket), tail = sizeof(suffix) - 1;
	char sentence[sizeof(struct xv_err) + 64];
	struct xv_err err = {0};
	char *path;

	if (len > tail && strcmp(api_socket + len - tail, suffix) == 0)
		len -= tail;
	if (asprintf(&path, "%.*s.rings", (int)len, api_socket) < 0)
		return;
	(void)xv_ring_places_open(path, &err);
	free(path);
	if (err.code == XV_ERR_NONE)
		return;
	xv_err_sentence(&err, NULL, sentence, sizeof(sentence));
	xv_log(XV_LOG_WARNING, "xviod", "%s", sentence);
}

/* Timers of some milliseconds matter to reconnecting ports. */
static struct event_base *events_create(void)
{
	struct event_config *config = event_config_new();
	struct event_base *events;

	if (config == NULL)
		return NULL;
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
	events = event_base_new_with_config(config);
	event_config_free(config);
	return events;
}

static int run(struct daemon *d)
{
	struct event *on_term = NULL, *on_int = NULL, *on_hup = NULL;
	timer_t watchdog = NULL;
	struct xv_server *server = NULL;
	struct xv_ovs_server *ovs = NULL;
	const char *ovs_socket;
	json_t *model = NULL, *lines = NULL, *changes = NULL;
	const json_t *daemon;
	struct xv_eal_config eal;
	struct xv_err err = {0};
	const char *file = NULL;
	int rc;

	rc = read_model(d, &model, &lines, &file, &err);
	if (rc < 0) {
		complain(&err, rc, file, NULL);
		return rc;
	}
	if (d->options.check) {
		printf("%s: ok\n", file ? file : "no host file");
		goto out_model;
	}
	rc = xv_server_create(d->options.api_socket, &server, &err);
	if (rc < 0) {
		complain(&err, rc, NULL, "API socket");
		goto out_model;
	}
	daemon = xv_model_get(model, "daemon", NULL);
	eal.hugepages =
		strcmp(json_string_value(json_object_get(daemon, "hugepages")), "auto") == 0;
	eal.memory_mb = (uint32_t)json_integer_value(json_object_get(daemon, "memory_mb"));
	rc = xv_eal_init(&eal, &err);
	if (rc < 0) {
		complain(&err, rc, NULL, NULL);
		goto out_server;
	}
	rc = xv_rcu_init();
	if (rc < 0) {
		complain(&err, rc, NULL, "RCU");
		goto out_eal;
	}
	xv_flow_connections = (uint32_t)json_integer_value(
		json_object_get(xv_model_get(model, "conntrack", NULL), "max_connections"));
	rc = xv_flows_init();
	if (rc < 0) {
		complain(&err, rc, NULL, "flows");
		goto out_rcu;
	}
	rc = xv_underlay_init();
	if (rc < 0) {
		complain(&err, rc, NULL, "tunnels");
		goto out_flows;
	}
	d->events = events_create();
	if (d->events == NULL) {
		complain(&err, rc = -ENOMEM, NULL, "event loop");
		goto out_flows;
	}
	rc = xv_vhost_init(d->events);
	if (rc < 0) {
		complain(&err, rc, NULL, "vhost");
		goto out_events;
	}
	open_ring_places(d->options.api_socket);
	rc = xv_host_create(d->events, &d->allowed, &d->host);
	if (rc < 0) {
		complain(&err, rc, NULL, "host");
		goto out_vhost;
	}
	rc = xv_txn_apply(d->host, model, lines, false, &changes, &err);
	if (rc < 0) {
		complain(&err, rc, file, NULL);
		goto out_host;
	}
	model = NULL; /* the host's now */
	json_decref(changes);
	ovs_socket = json_string_value(json_object_get(xv_model_get(d->host->model, "daemon", NULL), "ovs_socket"));
	rc = ovs_socket != NULL ? xv_ovs_server_create(ovs_socket, d->host, &ovs, &err) : 0;
	if (rc < 0) {
		complain(&err, rc, NULL, "OVS socket");
		goto out_host;
	}

	on_term = evsignal_new(d->events, SIGTERM, stop, d);
	on_int = evsignal_new(d->events, SIGINT, stop, d);
	on_hup = evsignal_new(d->events, SIGHUP, reload, d);
	if (on_term == NULL || on_int == NULL || on_hup == NULL || event_add(on_term, NULL) < 0 ||
	    event_add(on_int, NULL) < 0 || event_add(on_hup, NULL) < 0 ||
	    xv_server_start(server, d->events, d->host) < 0) {
		complain(&err, rc = -ENOMEM, NULL, "event loop");
		goto out_signals;
	}
	xv_log(XV_LOG_INFO, "xviod",
	       "version %s is ready: ports %zu, networks %zu, wires %zu, workers %zu%s",
	       XVIO_VERSION, json_object_size(json_object_get(d->host->model, "port")),
	       json_object_size(json_object_get(d->host->model, "network")),
	       json_object_size(json_object_get(d->host->model, "wire")),
	       json_object_size(json_object_get(d->host->model, "worker")),
	       xv_eal_uses_hugepages() ? ", hugepages" : "");
	xv_notify("READY=1\nSTATUS=Running");
	if (xv_watchdog_start(&watchdog) < 0)
		xv_log(XV_LOG_WARNING, "xviod", "no timer left for the watchdog");
	event_base_dispatch(d->events);
	if (watchdog != NULL)
		xv_watchdog_stop(watchdog);

out_signals:
	if (on_hup != NULL)
		event_free(on_hup);
	if (on_int != NULL)
		event_free(on_int);
	if (on_term != NULL)
		event_free(on_term);
	xv_server_destroy(server);
	server = NULL;
out_host:
	xv_ovs_server_destroy(ovs);
	xv_host_destroy(d->host);
out_vhost:
	xv_ring_places_close();
	xv_vhost_fini();
out_events:
	event_base_free(d->events);
out_flows:
	xv_underlay_fini();
	xv_flows_fini();
out_rcu:
	xv_rcu_fini();
out_eal:
	xv_eal_fini();
out_server:
	xv_server_destroy(server);
out_model:
	json_decref(model);
	json_decref(lines);
	return rc;
}

int main(int argc, char **argv)
{
	static struct daemon d;
	int rc;

	rc = parse_options(argc, argv, &d.options);
	if (rc != 0)
		return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	if (sched_getaffinity(0, sizeof(d.allowed), &d.allowed) < 0)
		CPU_ZERO(&d.allowed);
	xv_clock_init(0);
	return run(&d) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
