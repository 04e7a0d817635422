/* fdatasync beside the agent's loop: a slow disk holds up one thread, not the mirror. */
#include "agent/journal_int.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

struct journal_sync {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int fd;     /* to sync; -1: nothing to do */
    int result; /* of the last one that failed, until it is asked for */
    bool stop;
};

static void *work(void *arg)
{
    struct journal_sync *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->fd < 0 && !s->stop)
            pthread_cond_wait(&s->changed, &s->lock);
        if (s->fd < 0)
            break;
        int fd = s->fd;
        pthread_mutex_unlock(&s->lock);
        int rc = fdatasync(fd) < 0 ? -errno : 0;
        close(fd);
        pthread_mutex_lock(&s->lock);
        s->fd = -1;
        if (rc)
            s->result = rc;
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Signals are the main thread's. */
static int start_thread(struct journal_sync *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&s->thread, NULL, work, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

struct journal_sync *journal_sync_new(void)
{
    struct journal_sync *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (start_thread(s) == 0)
        return s;
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
    return NULL;
}

void journal_sync_free(struct journal_sync *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

bool journal_sync_start(struct journal_sync *s, int fd)
{
    pthread_mutex_lock(&s->lock);
    bool idle = s->fd < 0;
    if (idle) {
        s->fd = fd;
        pthread_cond_signal(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return idle;
}

bool journal_sync_busy(struct journal_sync *s)
{
    pthread_mutex_lock(&s->lock);
    bool busy = s->fd >= 0;
    pthread_mutex_unlock(&s->lock);
    return busy;
}

int journal_sync_result(struct journal_sync *s)
{
    pthread_mutex_lock(&s->lock);
    int rc = s->result;
    s->result = 0;
    pthread_mutex_unlock(&s->lock);
    return rc;
}
