/* SPDX-License-Identifier: Apache-2.0 */
/* Private to this folder: the operations of each kind, for the list in port.c. */
#pragma once

#include "port/port.h"

extern const struct xv_port_ops xv_vhost_port_ops, xv_ethdev_port_ops, xv_tap_port_ops,
	xv_dummy_port_ops, xv_tunnel_port_ops, xv_internal_port_ops, xv_kernel_port_ops;
