/* A screen that is drawn again and again: a terminal's, or lines one below the other where no
 * terminal reads. Restores the terminal however it ends; no state outside the struct. */
#ifndef OFFSHOOT_CTL_SCREEN_H
#define OFFSHOOT_CTL_SCREEN_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

struct screen {
    bool terminal; /* standard output is one */
    bool keys;     /* standard input is one: keys are read */
    bool lines;    /* nothing between what is drawn */
    bool drawn;
    int signals; /* signalfd */
    sigset_t before;
    struct termios saved;
};

enum screen_event { SCREEN_TIME, SCREEN_REDRAW, SCREEN_QUIT };

/* lines: one below the other with nothing in between, also on a terminal. 0, or negative errno with
 * e. screen_end in any case that is 0. */
int screen_begin(struct screen *s, bool lines, struct err *e);
void screen_end(struct screen *s);
/* Characters across and lines down; 0: no bound. */
void screen_size(const struct screen *s, unsigned *ret_width, unsigned *ret_height);
/* Replaces what is on the terminal by these lines, in one write and without clearing it first, so
 * that nothing flickers; elsewhere adds them. 0 or negative errno. */
int screen_draw(struct screen *s, const struct text *lines);
/* Until the time is over, a key or a signal comes, or the size changes. */
enum screen_event screen_wait(struct screen *s, uint64_t ms);

#endif
