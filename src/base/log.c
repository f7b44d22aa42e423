/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES  1024
#define LIMIT_LINES     5
#define LIMIT_WINDOW_NS 1000000000ull

static const struct {
	const char *name;
	int priority; /* of syslog(3) */
} levels[] = {
	[XV_LOG_ERROR] = {"error", 3},
	[XV_LOG_WARNING] = {"warning", 4},
	[XV_LOG_INFO] = {"info", 6},
	[XV_LOG_DEBUG] = {"debug", 7},
};
#define N_LEVELS (sizeof(levels) / sizeof(levels[0]))

static _Atomic int log_level = XV_LOG_INFO;
static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static bool journal;

/* sd-daemon(3): JOURNAL_STREAM holds device:inode of the journal's stream; stderr may be another.
 */
static void journal_detect(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	journal = env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 &&
		  fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

static size_t line_start(char *line, size_t size, enum xv_log_level level, const char *component)
{
	struct timespec ts;
	char stamp[32];
	struct tm tm;
	int n;

	if (journal) {
		n = snprintf(line, size, "<%d>%s: ", levels[level].priority, component);
	} else {
		clock_gettime(CLOCK_REALTIME, &ts);
		gmtime_r(&ts.tv_sec, &tm);
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
		n = snprintf(line, size, "%s.%03ldZ %s %s: ", stamp, ts.tv_nsec / 1000000,
			     levels[level].name, component);
	}
	return (size_t)n < size ? (size_t)n : size - 1;
}

void xv_log(enum xv_log_level level, const char *component, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	const size_t room = sizeof(line) - 1; /* for the newline */
	int saved_errno = errno;
	size_t len, i;
	va_list ap;
	int n;

	if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	pthread_once(&journal_once, journal_detect);
	len = line_start(line, room, level, component);
	va_start(ap, fmt);
	n = vsnprintf(line + len, room - len, fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	len += (size_t)n;
	if (len > room - 1) {
		len = room - 1;
		memcpy(line + len - 3, "...", 3);
	}
	/* Text of guests and front ends must not forge lines or terminal escapes. */
	for (i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[len++] = '\n';
	/* One write, so that lines of threads do not mix. There is nobody to tell if it fails. */
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}

void xv_log_set_level(enum xv_log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

enum xv_log_level xv_log_get_level(void)
{
	return (enum xv_log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

const char *xv_log_level_name(enum xv_log_level level)
{
	return (unsigned int)level < N_LEVELS ? levels[level].name : "unknown";
}

int xv_log_level_parse(const char *word, enum xv_log_level *level)
{
	unsigned int i;

	for (i = 0; i < N_LEVELS; i++) {
		if (strcmp(word, levels[i].name) == 0) {
			*level = (enum xv_log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool xv_log_allowed(struct xv_log_limit *limit, unsigned int *suppressed)
{
	uint64_t now = xv_clock_ns();

	if (now - limit->window_ns >= LIMIT_WINDOW_NS) {
		limit->window_ns = now;
		limit->lines = 0;
	}
	if (limit->lines >= LIMIT_LINES) {
		limit->suppressed++;
		return false;
	}
	limit->lines++;
	*suppressed = limit->suppressed;
	limit->suppressed = 0;
	return true;
}
