#include "proxy/mailbox.h"
#include "lib/base/mem.h"
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What is there now; what is posted from here on has woken us again, for the next turn. */
static void take_all(struct mailbox *m, struct list *ret)
{
    list_init(ret);
    pthread_mutex_lock(&m->lock);
    while (!list_empty(&m->queue)) {
        struct list *first = m->queue.next;
        list_remove(first);
        list_append(ret, first);
    }
    pthread_mutex_unlock(&m->lock);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct mailbox *m = arg;
    uint64_t n;
    (void)what;
    /* An error here means that somebody else read the count; the queue is looked at anyway. */
    ssize_t got = read(fd, &n, sizeof n);
    (void)got;
    struct list now;
    take_all(m, &now);
    while (!list_empty(&now)) {
        struct list *first = now.next;
        list_remove(first);
        struct message *msg = list_entry(first, struct message, link);
        msg->run(msg, m->owner);
    }
}

void message_free(struct message *m)
{
    mem_free(m);
}

int mailbox_init(struct mailbox *m, struct event_base *base, void *owner, struct err *e)
{
    memset(m, 0, sizeof *m);
    list_init(&m->queue);
    m->owner = owner;
    m->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->wake < 0)
        return err_set(e, -errno, "cannot make an eventfd: %s", strerror(errno));
    m->event = event_new(base, m->wake, EV_READ | EV_PERSIST, on_wake, m);
    if (!m->event || event_add(m->event, NULL) != 0) {
        if (m->event)
            event_free(m->event);
        close(m->wake);
        m->wake = -1;
        return err_set(e, -ENOMEM, "cannot watch an eventfd");
    }
    pthread_mutex_init(&m->lock, NULL);
    return 0;
}

void mailbox_wake(struct mailbox *m)
{
    uint64_t one = 1;
    /* EAGAIN would mean 2^64 - 1 wakes are pending: awake enough. */
    ssize_t put = write(m->wake, &one, sizeof one);
    (void)put;
}

void mailbox_post(struct mailbox *m, struct message *msg)
{
    pthread_mutex_lock(&m->lock);
    bool closed = m->closed;
    if (!closed)
        list_append(&m->queue, &msg->link);
    pthread_mutex_unlock(&m->lock);
    if (closed) {
        if (msg->drop)
            msg->drop(msg);
        return;
    }
    mailbox_wake(m);
}

void mailbox_close(struct mailbox *m)
{
    struct list rest;
    pthread_mutex_lock(&m->lock);
    m->closed = true;
    pthread_mutex_unlock(&m->lock);
    take_all(m, &rest);
    list_for_each (it, &rest) {
        struct message *msg = list_entry(it, struct message, link);
        list_remove(it);
        if (msg->drop)
            msg->drop(msg);
    }
    event_free(m->event);
    m->event = NULL;
}

void mailbox_release(struct mailbox *m)
{
    close(m->wake);
    pthread_mutex_destroy(&m->lock);
}
