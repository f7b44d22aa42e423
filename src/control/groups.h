/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which ports are in which security groups. A group may include others: a port of it is in those, too, which gives it their
 * rules, and its addresses to whoever names them as a remote group. Control thread; pure functions of the model.
 */
#pragma once

#include <stddef.h>

#include <jansson.h>

/* Does the group lead back to itself by what it includes? Then -EINVAL: *key is at fault, text the rest of the sentence. */
int xv_groups_check(const json_t *model, const char *name, const char **key, char *text, size_t size);

/* Names of all groups of a port, each once, in the order in which their rules are asked: those that it names, right behind each what
 * that one includes. A new array; valid models only. */
json_t *xv_groups_of(const json_t *model, const json_t *port);

/* {GROUP: [names of the ports in it]}, a new object. */
json_t *xv_groups_members(const json_t *model);
