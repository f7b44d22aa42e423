/* SPDX-License-Identifier: Apache-2.0 */
#include "control/packet_filter.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pcap/pcap.h>

#define ALLOW_EXPERIMENTAL_API /* rte_bpf_convert() */
#include <rte_bpf.h>
#include <rte_errno.h>
#include <rte_malloc.h>

#define SNAP_LEN   262144 /* what libpcap takes for "all of it" */
#define STEPS	   100
#define STEP_NS	   2000000
#define ERROR_SIZE 300

/*
 * libpcap asks the resolver for names of hosts, which may take seconds that the control thread has not: it works on a
 * thread of its own. Who is done last, or gives up last, frees the job.
 */
struct job {
	atomic_bool left; /* by one of the two */
	atomic_bool done;
	int rc;
	struct bpf_program program;
	char error[ERROR_SIZE];
	char text[];
};

static void job_leave(struct job *job)
{
	if (!atomic_exchange(&job->left, true))
		return;
	pcap_freecode(&job->program);
	free(job);
}

static void *compile(void *arg)
{
	struct job *job = arg;
	pcap_t *pcap = pcap_open_dead(DLT_EN10MB, SNAP_LEN);

	if (pcap == NULL) {
		job->rc = -ENOMEM;
	} else if (pcap_compile(pcap, &job->program, job->text, 1, PCAP_NETMASK_UNKNOWN) != 0) {
		job->rc = -EINVAL;
		snprintf(job->error, sizeof(job->error), "%s", pcap_geterr(pcap));
	}
	if (pcap != NULL)
		pcap_close(pcap);
	atomic_store(&job->done, true);
	job_leave(job);
	return NULL;
}

static struct job *job_start(const char *text)
{
	struct job *job = calloc(1, sizeof(*job) + strlen(text) + 1);
	pthread_t thread;

	if (job == NULL)
		return NULL;
	strcpy(job->text, text);
	if (pthread_create(&thread, NULL, compile, job) != 0) {
		free(job);
		return NULL;
	}
	(void)pthread_detach(thread);
	return job;
}

/* For DPDK. */
static int load(const struct bpf_program *program, struct rte_bpf **filter, struct xv_err *err)
{
	struct rte_bpf_prm *prm = rte_bpf_convert(program);

	*filter = prm != NULL ? rte_bpf_load(prm) : NULL;
	rte_free(prm);
	if (*filter == NULL)
		return xv_err_set(err, -EINVAL, XV_ERR_RANGE, "DPDK does not run this filter: %s", rte_strerror(rte_errno));
	return 0;
}

int xv_packet_filter_compile(const char *text, struct rte_bpf **filter, struct xv_err *err)
{
	const struct timespec pause = {.tv_nsec = STEP_NS};
	struct job *job = job_start(text);
	int rc;

	if (job == NULL)
		return xv_err_set(err, -ENOMEM, XV_ERR_RESOURCE, "out of memory");
	for (unsigned int i = 0; i < STEPS && !atomic_load(&job->done); i++)
		(void)nanosleep(&pause, NULL);
	if (!atomic_load(&job->done))
		rc = xv_err_set(err, -ETIMEDOUT, XV_ERR_RANGE,
				"\"%.100s\" names a host that is not resolved at once: give its address", text);
	else if (job->rc == -EINVAL)
		rc = xv_err_set(err, -EINVAL, XV_ERR_RANGE, "\"%.100s\": %s", text, job->error);
	else if (job->rc != 0)
		rc = xv_err_set(err, job->rc, XV_ERR_RESOURCE, "out of memory");
	else
		rc = load(&job->program, filter, err);
	job_leave(job);
	return rc;
}
