/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of FTP that announce data connections: what is read, what is refused, and that what is written can be read
 * again. */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/ftp_line.h"

static uint64_t seed = 1;

/* From the heap, so that a step beyond is seen by the sanitizer. */
static int parse_bytes(const char *text, uint32_t len, bool server, struct xv_ftp_line *line)
{
	uint8_t *copy = malloc(len ? len : 1);
	int rc;

	memcpy(copy, text, len);
	rc = xv_ftp_line_parse(copy, len, server, line);
	if (rc > 0) {
		assert_true(line->offset + line->len <= len);
		assert_true(line->port != 0);
	}
	free(copy);
	return rc;
}

static int parse(const char *text, bool server, struct xv_ftp_line *line)
{
	return parse_bytes(text, (uint32_t)strlen(text), server, line);
}

static void reads(void **state)
{
	static const struct {
		const char *text, *match;
		bool server;
		enum xv_ftp_kind kind;
		uint8_t ip_version;
		const char *addr; /* hex */
		uint16_t port;
	} cases[] = {
		{"PORT 10,0,0,1,156,64\r\n", "10,0,0,1,156,64", false, XV_FTP_PORT, 4, "0a000001", 40000},
		{"port   10,0,0,1,0,1\n", "10,0,0,1,0,1", false, XV_FTP_PORT, 4, "0a000001", 1},
		{"PoRt 255,255,255,255,255,255\r\nLIST\r\n", "255,255,255,255,255,255", false, XV_FTP_PORT, 4,
		 "ffffffff", 65535},
		{"PORT 010,00,0,001,156,064\r\n", "010,00,0,001,156,064", false, XV_FTP_PORT, 4, "0a000001", 40000},
		{"227 Entering Passive Mode (10,0,0,1,156,64).\r\n", "10,0,0,1,156,64", true, XV_FTP_227, 4, "0a000001",
		 40000},
		{"227 =10,0,0,1,156,64\r\n", "10,0,0,1,156,64", true, XV_FTP_227, 4, "0a000001", 40000},
		{"227 10,0,0,1,156,64\n", "10,0,0,1,156,64", true, XV_FTP_227, 4, "0a000001", 40000},
		{"EPRT |1|10.0.0.1|40000|\r\n", "|1|10.0.0.1|40000|", false, XV_FTP_EPRT, 4, "0a000001", 40000},
		{"eprt !1!10.0.0.1!40000!\r\n", "!1!10.0.0.1!40000!", false, XV_FTP_EPRT, 4, "0a000001", 40000},
		{"EPRT |2|fe80::1:2|7|\r\n", "|2|fe80::1:2|7|", false, XV_FTP_EPRT, 6,
		 "fe800000000000000000000000010002", 7},
		{"EPRT |2|::|7|\r\n", "|2|::|7|", false, XV_FTP_EPRT, 6, "00000000000000000000000000000000", 7},
		{"EPRT |2|::a|7|\r\n", "|2|::a|7|", false, XV_FTP_EPRT, 6, "0000000000000000000000000000000a", 7},
		{"EPRT |2|A::|7|\r\n", "|2|A::|7|", false, XV_FTP_EPRT, 6, "000a0000000000000000000000000000", 7},
		{"EPRT |2|1:2:3:4:5:6:7:8|7|\r\n", "|2|1:2:3:4:5:6:7:8|7|", false, XV_FTP_EPRT, 6,
		 "00010002000300040005000600070008", 7},
		{"EPRT |2|1:2:3:4:5:6:7::|7|\r\n", "|2|1:2:3:4:5:6:7::|7|", false, XV_FTP_EPRT, 6,
		 "00010002000300040005000600070000", 7},
		{"EPRT |2|1::3:4:5:6:7:8|7|\r\n", "|2|1::3:4:5:6:7:8|7|", false, XV_FTP_EPRT, 6,
		 "00010000000300040005000600070008", 7},
		{"229 Entering Extended Passive Mode (|||40000|)\r\n", "|||40000|", true, XV_FTP_229, 0, "", 40000},
		{"229 x (!!!1!)\n", "!!!1!", true, XV_FTP_229, 0, "", 1},
	};
	struct xv_ftp_line line;
	uint8_t addr[16];
	unsigned int i, n;
	uint32_t len;

	for (i = 0; i < RTE_DIM(cases); i++) {
		assert_int_equal(parse(cases[i].text, cases[i].server, &line), 1);
		assert_int_equal(line.kind, cases[i].kind);
		assert_int_equal(line.port, cases[i].port);
		assert_int_equal(line.ip_version, cases[i].ip_version);
		assert_int_equal(line.len, strlen(cases[i].match));
		assert_memory_equal(cases[i].text + line.offset, cases[i].match, line.len);
		n = unit_hex(cases[i].addr, addr, sizeof(addr));
		assert_memory_equal(line.addr.bytes + 16 - n, addr, n);
		assert_int_equal(parse(cases[i].text, !cases[i].server, &line), 0);
		/* Until its end is there it may become one; but a few bytes that it cannot begin with are not. */
		for (len = 1; cases[i].text[len - 1] != '\n'; len++)
			assert_int_equal(parse_bytes(cases[i].text, len, cases[i].server, &line), -EAGAIN);
	}
}

static void refuses(void **state)
{
	static const char *const client[] = {
		"",
		"\n",
		"\r\n",
		"P\r\n",
		"PORT\r\n",
		"PORT \r\n",
		"PORTS 10,0,0,1,1,1\r\n",
		"PORT 10,0,0,1,1\r\n",
		"PORT 10,0,0,256,1,1\r\n",
		"PORT 10,0,0,1,0,0\r\n",
		"PORT 10,0,0,1,1,99999999999999999999999\r\n",
		"PORT 10,,0,0,1,1,1\r\n",
		"PORT -1,0,0,1,1,1\r\n",
		"PORT 10.0.0.1,1,1\r\n",
		"PORT 10,0,0,1,1,\r\n",
		"USER x\r\n",
		"XPORT 10,0,0,1,1,1\r\n",
		"EPRT |1|10.0.0.1|0|\r\n",
		"EPRT |1|10.0.0.1|65536|\r\n",
		"EPRT |1|10.0.0|1|\r\n",
		"EPRT |3|10.0.0.1|1|\r\n",
		"EPRT |1|10.0.0.1|1\r\n",
		"EPRT |2|10.0.0.1|1|\r\n",
		"EPRT |1|::1|1|\r\n",
		"EPRT 111110.0.0.11\r\n",
		"EPRT |2|:1|1|\r\n",
		"EPRT |2|1:|1|\r\n",
		"EPRT |2|1:2|1|\r\n",
		"EPRT |2|1:::2|1|\r\n",
		"EPRT |2|1::2::3|1|\r\n",
		"EPRT |2|12345::|1|\r\n",
		"EPRT |2|1:2:3:4:5:6:7:8:9|1|\r\n",
		"EPRT |2|1:2:3:4::5:6:7:8|1|\r\n",
		"EPRT |2||1|\r\n",
		"EPRT |2|:|1|\r\n",
		"EPRT |2|1:2:3:4:5:6:7:|1|\r\n",
		"EPRT  \x01"
		"1\x01"
		"10.0.0.1\x01"
		"1\x01\r\n",
	};
	static const char *const server[] = {
		"227\r\n",
		"227 \r\n",
		"227-10,0,0,1,1,1\r\n",
		"227 x\r\n",
		"227 7 (10,0,0,1,1,1)\r\n",
		"229 |||1|\r\n",
		"229 (||1|)\r\n",
		"229 (|||1)\r\n",
		"229 (|1|10.0.0.1|1|)\r\n",
		"229 (|||x|)\r\n",
		"229 (|||0|)\r\n",
		"220 x\r\n",
		"150 x\r\n",
	};
	struct xv_ftp_line line;
	unsigned int i;

	for (i = 0; i < RTE_DIM(client); i++)
		assert_int_equal(parse(client[i], false, &line), 0);
	for (i = 0; i < RTE_DIM(server); i++)
		assert_int_equal(parse(server[i], true, &line), 0);
	/* No line of interest begins like that, however it ends. */
	assert_int_equal(parse("USER", false, &line), 0);
	assert_int_equal(parse("PASS", false, &line), 0);
	assert_int_equal(parse("22", false, &line), 0);
	assert_int_equal(parse("P", false, &line), -EAGAIN);
}

static void writes(void **state)
{
	static const struct {
		enum xv_ftp_kind kind;
		const char *before, *behind;
	} kinds[] = {
		{XV_FTP_PORT, "PORT ", "\r\n"},
		{XV_FTP_EPRT, "EPRT ", "\r\n"},
		{XV_FTP_227, "227 x (", ")\r\n"},
		{XV_FTP_229, "229 x (", ")\r\n"},
	};
	unsigned int i, j, k;

	for (i = 0; i < 20000; i++) {
		struct xv_ftp_line line = {.port = (uint16_t)(1 + unit_random(&seed, 65535)), .delimiter = '|'}, again;
		uint8_t text[XV_FTP_TEXT_MAX];
		char whole[200];
		uint32_t len;

		k = i % 4;
		line.kind = kinds[k].kind;
		line.ip_version = k == 3 ? 0 : k == 1 && unit_random(&seed, 2) ? 6 : 4;
		for (j = line.ip_version == 6 ? 0 : 12; j < 16 && line.ip_version != 0; j++)
			line.addr.bytes[j] = (uint8_t)(unit_random(&seed, 2) ? unit_random(&seed, 256) : 0);
		memset(text, '#', sizeof(text));
		len = xv_ftp_line_format(&line, text);
		assert_true(len <= sizeof(text));
		snprintf(whole, sizeof(whole), "%s%.*s%s", kinds[k].before, (int)len, (const char *)text,
			 kinds[k].behind);
		assert_int_equal(parse(whole, k >= 2, &again), 1);
		assert_int_equal(again.len, len);
		assert_true(again.port == line.port && again.ip_version == line.ip_version);
		assert_memory_equal(&again.addr, &line.addr, sizeof(line.addr));
	}
}

/* Anything at all: not beyond the bytes, and what is found is in them. */
static void hostile(void **state)
{
	static const char alphabet[] = "PORTEPRT229227 (|1,2:.)a\r\n";
	struct xv_ftp_line line;
	char text[64];
	uint32_t i, j, len;

	for (i = 0; i < 200000; i++) {
		static const char *const starts[] = {"PORT ", "EPRT |2|", "227 ", "229 (|||", ""};
		const char *begin = starts[unit_random(&seed, RTE_DIM(starts))];

		len = (uint32_t)strlen(begin) + unit_random(&seed, 40);
		memcpy(text, begin, strlen(begin));
		for (j = (uint32_t)strlen(begin); j < len; j++)
			text[j] = unit_random(&seed, 20) ? alphabet[unit_random(&seed, sizeof(alphabet) - 1)]
							 : (char)unit_random(&seed, 256);
		parse_bytes(text, len, unit_random(&seed, 2), &line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(refuses),
		cmocka_unit_test(writes),
		cmocka_unit_test(hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
