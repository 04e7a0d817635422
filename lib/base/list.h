/* Intrusive doubly linked ring. A list head is a struct list of its own; an element embeds one. */
#ifndef OFFSHOOT_BASE_LIST_H
#define OFFSHOOT_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define list_entry(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define list_for_each(it, head)                                                                    \
    for (struct list *it = (head)->next, *it##_next; it##_next = it->next, it != (head);           \
         it = it##_next)

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
/* Puts e before the head: the last element. */
static inline void list_append(struct list *head, struct list *e)
{
    e->prev = head->prev;
    e->next = head;
    head->prev->next = e;
    head->prev = e;
}
static inline void list_push(struct list *head, struct list *e)
{
    list_append(head->next, e);
}
/* Safe on an element that is alone (initialised) and may be called twice. */
static inline void list_remove(struct list *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
    e->next = e->prev = e;
}

#endif
