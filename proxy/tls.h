/* TLS of the proxy: the certificates of its listeners are read, watched and handed to the workers;
 * so are the keys of session tickets. Everything but what is marked belongs to the control thread.
 *
 * A listener's files are read as one set. If any of them is bad the old set stays in use, all of
 * it; nothing is half new. Connections that are open, or in their handshake, keep the set they
 * began with. */
#ifndef OFFSHOOT_PROXY_TLS_H
#define OFFSHOOT_PROXY_TLS_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include "lib/net/tls.h"
#include "proxy/settings.h"

struct control;
struct listener;
struct tls_control;
struct worker;

/* ---- settings (proxy/tls_settings.c) ---- */

/* The options of --listen that have to do with TLS. 1: word is none of them; 0; -EINVAL with e. */
int tls_listen_option(struct str word, struct listen_spec *l, struct err *e);
/* Judges them together. */
int tls_listen_together(const struct listen_spec *l, struct err *e);
/* For --help and messages: ", tls=..., ...". */
#define TLS_LISTEN_OPTIONS                                                                         \
    "tls=CERT+KEY|FILE|DIR, client-ca=FILE, client-cert=optional|required, sni=strict, "           \
    "alpn=PROTOCOL[+PROTOCOL]"
void tls_settings(const struct settings *set, struct tls_rules *ret);
/* Reads everything once, for --check-config. */
int tls_check(const struct settings *set, struct err *e);

/* ---- the control thread ---- */

/* Every worker gets what its TLS connections share; certificates are read. Before listening. */
int tls_start(struct control *c, struct err *e);
/* Gives a worker's listener, the index-th of the settings, its contexts, if it has TLS. */
int tls_listener(
    struct control *c, size_t index, struct worker *w, struct listener *l, struct err *e);
/* Reads all files again, for every listener. 0, or negative errno with the first fault: then the
 * old certificates of that listener stay. Counted. */
int tls_reload(struct control *c, struct err *e);
/* What /status says: the key "tls" with its value, or lines. */
void tls_status(const struct control *c, bool json, struct text *t);
void tls_release(struct control *c);
/* For a binary upgrade: the keys of session tickets in a new anonymous file; -1 without any. */
int tls_tickets_share(const struct control *c);

/* ---- workers ---- */

struct client;
/* A client's handshake (proxy/client_tls.c): begins before its first request. False: it is closed,
 * for want of memory. */
bool client_tls_begin(struct client *c);
/* on_ready and on_timer of that phase. */
void client_tls_ready(struct client *c);
void client_tls_timer(struct client *c);

/* One line about a connection that failed, unless there were too many in this second. who: an
 * address, or what was connected to. */
void tls_log(struct worker *w, const char *who, enum tls_failure why, const struct err *text);

#endif
