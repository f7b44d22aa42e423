/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>

#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"
#include "if-notifier.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/shash.h"
#include "openvswitch/vlog.h"
#include "ovsdb-idl.h"
#include "provider.h"
#include "timeval.h"
#include "util.h"
#include "vswitch-idl.h"

VLOG_DEFINE_THIS_MODULE(xvio_watch);

#define RETRY_MS 500
#define LINKS_MS 500
#define MISSING "xviod does not answer" /* an interface's error that begins so is ours */

static struct ovsdb_idl *idl;
static struct ovsdb_idl_txn *txn; /* on its way, or NULL */
static bool netdev_is_ours;
static int fd = -1;
static bool said;           /* that it is missing */
static long long int next;  /* when to try again, or to look at links */
static char *missing;       /* the sentence, as long as it is */
static struct shash sentences = SHASH_INITIALIZER(&sentences); /* by interface */

void
xvio_watch_database(struct ovsdb_idl *database)
{
    idl = database;
}

void
xvio_watch_netdev(void)
{
    netdev_is_ours = true;
}

void
xvio_watch_refused(const char *interface, const char *sentence)
{
    free(shash_replace(&sentences, interface, xstrdup(sentence)));
}

char *
xvio_watch_take_sentence(const char *interface)
{
    return shash_find_and_delete(&sentences, interface);
}

static bool
is_ours(const struct ovsrec_bridge *bridge)
{
    return !strcmp(bridge->datapath_type, "xvio") || (netdev_is_ours && !strcmp(bridge->datapath_type, "netdev"));
}

/* Whether anybody asks for us. */
static bool
is_wanted(void)
{
    const struct ovsrec_bridge *bridge;

    if (!idl || !ovsdb_idl_has_lock(idl)) {
        return false;
    }
    OVSREC_BRIDGE_FOR_EACH (bridge, idl) {
        if (is_ours(bridge)) {
            return true;
        }
    }
    return false;
}

/* Interfaces of our bridges that say no other error say that xviod is missing, or do not any more. */
static void
mark_bridge(const struct ovsrec_bridge *bridge)
{
    for (size_t i = 0; i < bridge->n_ports; i++) {
        for (size_t k = 0; k < bridge->ports[i]->n_interfaces; k++) {
            const struct ovsrec_interface *interface = bridge->ports[i]->interfaces[k];
            bool is_marked = interface->error && !strncmp(interface->error, MISSING, strlen(MISSING));

            if (missing ? !interface->error : is_marked) {
                ovsrec_interface_set_error(interface, missing);
            }
        }
    }
}

static void
mark_interfaces(void)
{
    const struct ovsrec_bridge *bridge;

    if (txn) {
        if (ovsdb_idl_txn_commit(txn) == TXN_INCOMPLETE) {
            return;
        }
        ovsdb_idl_txn_destroy(txn);
        txn = NULL;
    }
    if (!idl || !ovsdb_idl_has_lock(idl)) {
        return;
    }
    txn = ovsdb_idl_txn_create(idl);
    OVSREC_BRIDGE_FOR_EACH (bridge, idl) {
        if (is_ours(bridge)) {
            mark_bridge(bridge);
        }
    }
    if (ovsdb_idl_txn_commit(txn) != TXN_INCOMPLETE) {
        ovsdb_idl_txn_destroy(txn);
        txn = NULL;
    }
}

static void
say_missing(int error)
{
    free(missing);
    missing = error == EPROTO ? xasprintf(MISSING " as expected at %s: it is of another version", xvio_socket_path())
                              : xasprintf(MISSING " at %s (%s)", xvio_socket_path(), ovs_strerror(error));
    if (!said) {
        VLOG_WARN("%s: tried again until it does", missing);
        said = true;
    }
    mark_interfaces();
}

static void
connected(void)
{
    VLOG_INFO("xviod answers at %s", xvio_socket_path());
    free(missing);
    missing = NULL;
    said = false;
    xvio_restore(fd);
    mark_interfaces();
    /* Bridges and ports that could not be made are tried again. */
    if_notifier_manual_report();
}

static void
look_at_links(void)
{
    struct xvio_reply reply = { .header = NULL };
    const struct xv_ovs_item *item;
    struct ofpbuf request;
    bool broken = false;
    uint32_t at = 0;

    xvio_request_init(&request, XV_OVS_LINKS);
    xvio_request_finish(&request);
    if (xvio_ask(fd, &request, &reply)) {
        close(fd);
        fd = -1;
    }
    while (reply.header && (item = xv_ovs_next(reply.items, reply.len, &at, &broken))) {
        uint32_t up;
        char *name;

        if (item->type != XV_OVS_LINK || item->len <= sizeof up) {
            continue;
        }
        memcpy(&up, xv_ovs_body(item), sizeof up);
        name = xmemdup0((const char *) xv_ovs_body(item) + sizeof up, item->len - sizeof up);
        netdev_xvio_set_link(name, up);
        free(name);
    }
    ofpbuf_uninit(&request);
    xvio_reply_free(&reply);
}

/* Nothing ever comes on this connection unasked but its end. */
static bool
has_ended(void)
{
    char byte;
    ssize_t n = recv(fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void
xvio_watch_run(void)
{
    if (fd >= 0 && has_ended()) {
        close(fd);
        fd = -1;
        next = 0;
        netdev_xvio_links_down();
    }
    if (time_msec() < next) {
        return;
    }
    next = time_msec() + (fd >= 0 ? LINKS_MS : RETRY_MS);
    if (fd >= 0) {
        look_at_links();
        if (txn) {
            mark_interfaces();
        }
    } else if (is_wanted()) {
        fd = xvio_connect_any();
        if (fd >= 0) {
            connected();
        } else {
            int error = -fd;

            fd = -1;
            say_missing(error);
        }
    }
}

void
xvio_watch_wait(void)
{
    if (fd >= 0) {
        poll_fd_wait(fd, POLLIN);
    }
    if (fd >= 0 || is_wanted()) {
        poll_timer_wait_until(next);
    }
}
