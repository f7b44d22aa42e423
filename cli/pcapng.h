/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets as a pcapng file (draft-ietf-opsawg-pcapng), for Wireshark and tcpdump: an interface for each port, with
 * its name, and a comment with each packet.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PCAPNG_INTERFACES 1024

struct pcapng {
	FILE *f;
	unsigned int n;
	char *names[PCAPNG_INTERFACES]; /* by interface id */
};

/* path "-": standard output. 0 or -errno. */
int pcapng_open(struct pcapng *p, const char *path);
/* n bytes of a packet that has len; comment may be "". 0 or -errno. What was added is in the file when this
 * returns. */
int pcapng_add(struct pcapng *p, const char *port, uint64_t time_us, const uint8_t *bytes, uint32_t n, uint32_t len,
	       const char *comment);
/* 0 or -errno. */
int pcapng_close(struct pcapng *p);
