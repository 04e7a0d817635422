/* The last good graph on disk: `last-good` in the state folder, so that a proxy starts without an
 * agent and never serves an older graph than one it acknowledged.
 *
 * A record log: a whole graph, then the difference of each activation; made anew from one whole
 * when the differences have grown larger than twice the whole (and over 1 MiB). A record names its
 * history, epoch and digest; they are compared on load. */
#ifndef OFFSHOOT_PROXY_LASTGOOD_H
#define OFFSHOOT_PROXY_LASTGOOD_H

#include "lib/base/err.h"
#include "lib/graph/snapshot.h"

#define HISTORY_ID 16 /* bytes */

struct lastgood;
struct lastgood_found {
    struct snapshot *snapshot; /* a reference; NULL: nothing was kept */
    unsigned char history[HISTORY_ID];
    int64_t saved_s;    /* Unix seconds */
    uint64_t cut_bytes; /* torn tail removed */
};

/* Opens or creates in dir (which the caller has locked). A damaged file is an error that names the
 * place (-EBADMSG): then the proxy does not start from it; `ret` is untouched. */
struct lastgood *lastgood_open(const char *dir, struct lastgood_found *ret, struct err *e);
void lastgood_close(struct lastgood *l);
/* On disk when 0 is returned (fdatasync). Keeps a reference on s until the next one. On failure
 * (disk full) what was kept before stays. */
int lastgood_save(
    struct lastgood *l, const unsigned char *history, struct snapshot *s, struct err *e);
/* The history an operator told us to take although we hold another one (proxy adopt); kept across
 * restarts until a graph of it is saved. NULL: none. */
int lastgood_adopt(struct lastgood *l, const unsigned char *history, struct err *e);
const unsigned char *lastgood_adopted(const struct lastgood *l);

#endif
