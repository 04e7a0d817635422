#include "proxy/keys.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/parse.h"
#include "lib/graph/keyring.h"
#include "proxy/control.h"
#include <assert.h>
#include <errno.h>
#include <time.h>

/* A signer on its way to the worker that it is for. */
struct rekey {
    struct message message;
    struct signer *signer;
};

static void rekey_drop(struct message *m)
{
    struct rekey *k = list_entry(m, struct rekey, message);
    signer_free(k->signer);
    mem_free(k);
}

/* On the worker's thread, between two requests' steps: nobody holds the old one over a wait. */
static void rekey_run(struct message *m, void *worker)
{
    struct rekey *k = list_entry(m, struct rekey, message);
    struct worker *w = worker;
    assert(w->magic == WORKER_MAGIC);
    struct signer *old = w->signer;
    w->signer = k->signer;
    k->signer = old;
    rekey_drop(m);
}

static struct rekey *rekey_new(struct keyring *keys)
{
    struct rekey *k = mem_zalloc(sizeof *k);
    if (!k)
        return NULL;
    k->message = (struct message){.run = rekey_run, .drop = rekey_drop};
    k->signer = signer_new(keys);
    if (k->signer)
        return k;
    mem_free(k);
    return NULL;
}

/* All of them are made before the first is sent. */
static int tell_workers(struct control *c, struct keyring *keys)
{
    struct rekey **all = mem_array(c->nworkers + 1, sizeof(struct rekey *));
    struct signer *own = signer_new(keys);
    unsigned made = 0;
    while (all && own && made < c->nworkers && (all[made] = rekey_new(keys)))
        made++;
    if (!all || !own || made < c->nworkers) {
        while (made > 0)
            rekey_drop(&all[--made]->message);
        signer_free(own);
        mem_free(all);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < c->nworkers; i++) {
        if (c->nstarted)
            mailbox_post(&c->workers[i].mailbox, &all[i]->message);
        else
            rekey_run(&all[i]->message, &c->workers[i]);
    }
    mem_free(all);
    signer_free(c->signer);
    c->signer = own;
    return 0;
}

static void log_kids(const struct keyring *k)
{
    char text[KEYS_MAX * 9 + 1] = "";
    size_t n = 0;
    for (unsigned i = 0; i < keyring_count(k); i++)
        n += (size_t)snprintf(
            text + n, sizeof text - n, "%s%.*s", i ? " " : "", STR_ARG(keyring_kid(k, i)));
    log_info("contexts are signed; keys, the signing one first: %s", text);
}

int keys_load(struct control *c, struct err *e)
{
    if (!c->set->keys)
        return 0;
    struct keyring *k = keyring_read(c->set->keys, c->set->trust_domain, e);
    int rc = !k ? -EINVAL : tell_workers(c, k);
    if (rc != 0) {
        if (k)
            err_set(e, rc, "out of memory: the keys are not taken");
        keyring_unref(k);
        counter_inc(&c->stats[STAT_KEYS_REFUSED]);
        return rc;
    }
    keyring_unref(c->keys);
    c->keys = k;
    c->keys_loaded_s = time(NULL);
    counter_inc(&c->stats[STAT_KEYS_LOADS]);
    counter_set(&c->stats[STAT_KEYS], keyring_count(k));
    log_kids(k);
    return 0;
}

void keys_status(const struct control *c, bool json, struct text *t)
{
    char loaded[24];
    if (!c->keys) {
        text_add(
            t, json ? STR("\"keys\":null") : STR("keys          none: contexts are unsigned\n"));
        return;
    }
    format_rfc3339(c->keys_loaded_s, loaded);
    text_add(t, json ? STR("\"keys\":{\"trust_domain\":\"") : STR("keys         "));
    if (json)
        text_fmt(t, "%s\",\"loaded\":\"%s\",\"kids\":[", c->set->trust_domain, loaded);
    for (unsigned i = 0; i < keyring_count(c->keys); i++)
        text_fmt(t, json ? "%s\"%.*s\"" : "%s%.*s", json ? (i ? "," : "") : " ",
            STR_ARG(keyring_kid(c->keys, i)));
    if (json)
        text_add(t, STR("]}"));
    else
        text_fmt(
            t, ", the first signs; trust domain %s, read at %s\n", c->set->trust_domain, loaded);
}

void keys_release(struct control *c)
{
    signer_free(c->signer);
    keyring_unref(c->keys);
}
