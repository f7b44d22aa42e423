/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

static void err_sentences(void **state)
{
	static const struct {
		const char *file, *object, *key, *text, *sentence;
		int line;
	} cases[] = {
		{"host.yaml", "vm1", "socket", "path is longer than 107 bytes",
		 "host.yaml:12: port vm1: socket: path is longer than 107 bytes", 12},
		{"host.yaml", NULL, NULL, "not a YAML file", "host.yaml: not a YAML file", 0},
		{NULL, "vm1", NULL, "exists already", "port vm1: exists already", 0},
		{NULL, NULL, "mtu", "must be a number", "line 3: mtu: must be a number", 3},
		{NULL, NULL, NULL, "", "", 0},
	};
	char buf[200];
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct xv_err err = {.line = cases[i].line};

		assert_int_equal(xv_err_set(&err, -EINVAL, XV_ERR_RANGE, "%s", cases[i].text),
				 -EINVAL);
		assert_int_equal(err.code, XV_ERR_RANGE);
		if (cases[i].object)
			xv_err_object(&err, "port", cases[i].object);
		if (cases[i].key)
			xv_err_key(&err, cases[i].key);
		/* Who speaks first is nearest to the fault. */
		if (cases[i].object)
			xv_err_object(&err, "file", "other");
		if (cases[i].key)
			xv_err_key(&err, "other");
		assert_ptr_equal(xv_err_sentence(&err, cases[i].file, buf, sizeof(buf)), buf);
		assert_string_equal(buf, cases[i].sentence);
	}
}

static void err_limits(void **state)
{
	char big[2000], buf[10];
	struct xv_err err = {0};
	int code;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	xv_err_set(&err, -E2BIG, XV_ERR_RANGE, "%s", big);
	xv_err_object(&err, "port", big);
	xv_err_key(&err, big);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_int_equal(strlen(err.object), sizeof(err.object) - 1);
	assert_int_equal(strlen(err.key), sizeof(err.key) - 1);
	assert_int_equal(strlen(xv_err_sentence(&err, "f", buf, sizeof(buf))), sizeof(buf) - 1);
	assert_string_equal(xv_err_sentence(&err, "f", buf, 0), "");

	assert_int_equal(xv_err_set(NULL, -ENOENT, XV_ERR_NOT_FOUND, "nobody listens"), -ENOENT);
	xv_err_object(NULL, "port", "vm1");
	xv_err_key(NULL, "mtu");

	for (code = XV_ERR_NONE; code <= XV_ERR_INTERNAL; code++)
		assert_string_not_equal(xv_errcode_name((enum xv_errcode)code), "unknown");
	assert_string_equal(xv_errcode_name(XV_ERR_UNKNOWN_KEY), "unknown-key");
	assert_string_equal(xv_errcode_name((enum xv_errcode)1000), "unknown");
}

static void clock_warp(void **state)
{
	uint64_t ns, cycles;

	xv_clock_init(0);
	assert_in_range(xv_clock.hz, 1000 * 1000, UINT64_C(10) * 1000 * 1000 * 1000);
	xv_clock_init(2000000000);
	assert_int_equal(xv_clock_cycles_of_us(5), 10000);

	ns = xv_clock_ns();
	cycles = xv_clock_cycles();
	assert_true(xv_clock_ns() >= ns);
	assert_true(xv_clock_cycles() >= cycles);

	xv_clock_stop();
	ns = xv_clock_ns();
	cycles = xv_clock_cycles();
	usleep(1000);
	assert_int_equal(xv_clock_ns(), ns);
	assert_int_equal(xv_clock_cycles(), cycles);
	xv_clock_warp_ms(300 * 1000);
	assert_int_equal(xv_clock_ns() - ns, UINT64_C(300) * 1000 * 1000 * 1000);
	assert_int_equal(xv_clock_cycles() - cycles, UINT64_C(300) * 2000000000);
	xv_clock_resume();
	assert_true(xv_clock_ns() - ns < UINT64_C(100) * 1000 * 1000 * 1000);
}

/* Run fn with stderr in a file; what it wrote goes to text. */
static void capture(void (*fn)(void), char *text, size_t size)
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t n;

	assert_non_null(file);
	assert_true(saved >= 0);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	fn();
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	rewind(file);
	n = fread(text, 1, size - 1, file);
	text[n] = '\0';
	fclose(file);
}

static void speak(void)
{
	char big[3000];

	xv_log_set_level(XV_LOG_INFO);
	xv_log(XV_LOG_DEBUG, "test", "not this");
	xv_log(XV_LOG_WARNING, "vhost vm1", "ring %d broke\n<0>forged \x1b[31m", 3);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	xv_log(XV_LOG_ERROR, "test", "%s", big);
}

static void log_lines(void **state)
{
	char text[8192], *second;
	enum xv_log_level level;

	capture(speak, text, sizeof(text));
	assert_null(strstr(text, "not this"));
	/* What others put into a line stays one line. */
	assert_non_null(strstr(text, "Z warning vhost vm1: ring 3 broke?<0>forged ?[31m\n"));
	second = strchr(text, '\n') + 1;
	assert_int_equal(strlen(second), 1023);
	assert_string_equal(second + strlen(second) - 5, "x...\n");

	assert_int_equal(xv_log_level_parse("debug", &level), 0);
	assert_int_equal(level, XV_LOG_DEBUG);
	assert_int_equal(xv_log_level_parse("loud", &level), -EINVAL);
	assert_string_equal(xv_log_level_name(XV_LOG_WARNING), "warning");
	assert_int_equal(xv_log_get_level(), XV_LOG_INFO);
}

static void flood(void)
{
	int i;

	for (i = 0; i < 101; i++) {
		if (i == 100)
			xv_clock_warp_ms(1000);
		XV_LOG_LIMITED(XV_LOG_WARNING, "test", "line %d", i);
	}
}

static void log_limit(void **state)
{
	char text[8192], *p;
	unsigned int lines = 0;

	xv_clock_stop();
	capture(flood, text, sizeof(text));
	xv_clock_resume();
	for (p = text; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 7); /* five, one that counts, one of the next second */
	assert_non_null(strstr(text, "line 4\n"));
	assert_null(strstr(text, "line 5\n"));
	assert_non_null(strstr(text, "(95 similar lines suppressed)\n"));
	assert_non_null(strstr(text, "line 100\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_sentences), cmocka_unit_test(err_limits),
		cmocka_unit_test(clock_warp),    cmocka_unit_test(log_lines),
		cmocka_unit_test(log_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
