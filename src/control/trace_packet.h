/* SPDX-License-Identifier: Apache-2.0 */
/* The packet that `trace` is asked about: from hexadecimal digits, or made of keys. Control thread. */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "control/host.h"

/*
 * args: those of the method trace, checked. *frame is malloc memory of *len bytes and room for xv_trace(). Checksums in it are zero: nothing
 * that decides about packets looks at them. 0, -ENOMEM, or -EINVAL and a sentence.
 */
int xv_trace_packet(const struct xv_host_port *port, const json_t *args, uint8_t **frame, uint32_t *len,
		    struct xv_err *err);
