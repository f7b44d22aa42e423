/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines to stderr; with a journal behind it (JOURNAL_STREAM) each line carries the <N> priority
 * prefix. Any thread except packet workers, which count instead of logging (tools/check-hotpath).
 * What a guest or the wire can provoke goes through XV_LOG_LIMITED: at most 5 lines per second per
 * call site, the number of suppressed lines is said with the next one.
 */
#pragma once

#include <stdbool.h>

enum xv_log_level { XV_LOG_ERROR, XV_LOG_WARNING, XV_LOG_INFO, XV_LOG_DEBUG };

/* component is the folder or object that speaks: "vhost vm1". */
void xv_log(enum xv_log_level level, const char *component, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

void xv_log_set_level(enum xv_log_level level);
enum xv_log_level xv_log_get_level(void);
const char *xv_log_level_name(enum xv_log_level level);
/* -EINVAL for an unknown word. */
int xv_log_level_parse(const char *word, enum xv_log_level *level);

struct xv_log_limit {
	unsigned long long window_ns;
	unsigned int lines, suppressed;
};
/* True when this call site may log now; *suppressed gets the lines swallowed since. Control thread. */
bool xv_log_allowed(struct xv_log_limit *limit, unsigned int *suppressed);

#define XV_LOG_LIMITED(level, component, fmt, ...)                                                 \
	do {                                                                                       \
		static struct xv_log_limit limit_;                                                 \
		unsigned int suppressed_;                                                          \
		if (xv_log_allowed(&limit_, &suppressed_)) {                                       \
			if (suppressed_ > 0)                                                       \
				xv_log(level, component, "(%u similar lines suppressed)",          \
				       suppressed_);                                               \
			xv_log(level, component, fmt, ##__VA_ARGS__);                              \
		}                                                                                  \
	} while (0)
