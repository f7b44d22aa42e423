/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `xvioctl doctor`: looks at the machine and, if it runs, at xviod; says what would make it faster
 * and why a port passes no traffic. Changes nothing.
 */
#pragma once

#include "cli/client.h"

/* A list of {"level": "ok|hint|problem", "subject", "text"}. */
json_t *doctor_findings(struct client *client);
void doctor_print(const json_t *findings);
