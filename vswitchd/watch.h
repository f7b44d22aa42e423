/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is xviod there? The main thread looks in each round, while the database or a datapath of ours asks for it. When xviod goes, that
 * is said in the log and as the error of each interface on our bridges; when one comes that does not know our datapaths, it is
 * told; bridges that could not be made are tried again. Links are watched here, too.
 */
#pragma once

#include <stdbool.h>

struct ovsdb_idl;

/* The database, as soon as there is one. */
void xvio_watch_database(struct ovsdb_idl *);
/* The datapath type "netdev" is ours, too. */
void xvio_watch_netdev(void);
void xvio_watch_run(void);
void xvio_watch_wait(void);
/* A port was refused: the sentence that the interface's error is to be, in place of what errno says. */
void xvio_watch_refused(const char *interface, const char *sentence);
/* That sentence, once; the caller frees it. NULL: none. */
char *xvio_watch_take_sentence(const char *interface);
