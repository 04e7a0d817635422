#include "ctl/screen.h"
#include "lib/base/files.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"

/* Keys come at once and are not shown; signals still come from the keyboard. */
static void take_terminal(struct screen *s)
{
    if (s->keys) {
        struct termios raw = s->saved;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    if (s->terminal)
        file_write(STDOUT_FILENO, STR(ENTER));
}

static void give_terminal(struct screen *s)
{
    if (s->terminal)
        file_write(STDOUT_FILENO, STR(LEAVE));
    if (s->keys)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &s->saved);
}

int screen_begin(struct screen *s, bool lines, struct err *e)
{
    static const int which[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    sigset_t set;
    *s = (struct screen){.lines = lines, .terminal = !lines && isatty(STDOUT_FILENO) == 1};
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof which / sizeof which[0]; i++)
        sigaddset(&set, which[i]);
    s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->signals < 0)
        return err_set(e, -errno, "cannot watch signals: %s", strerror(errno));
    sigprocmask(SIG_BLOCK, &set, &s->before);
    s->keys = s->terminal && tcgetattr(STDIN_FILENO, &s->saved) == 0;
    take_terminal(s);
    return 0;
}

void screen_end(struct screen *s)
{
    give_terminal(s);
    close(s->signals);
    sigprocmask(SIG_SETMASK, &s->before, NULL);
}

void screen_size(const struct screen *s, unsigned *ret_width, unsigned *ret_height)
{
    struct winsize size = {0};
    *ret_width = *ret_height = 0;
    if (!s->terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return;
    *ret_width = size.ws_col;
    *ret_height = size.ws_row;
}

/* Each line, and what was behind it before is erased; then what was below. */
static void compose(struct text *out, struct str lines)
{
    text_add(out, STR("\033[H"));
    while (lines.n) {
        size_t end = str_find(lines, '\n');
        text_add(out, str_of(lines.p, end));
        lines = str_from(lines, end < lines.n ? end + 1 : end);
        text_add(out, lines.n ? STR("\033[K\r\n") : STR("\033[K"));
    }
    text_add(out, STR("\033[J"));
}

int screen_draw(struct screen *s, const struct text *lines)
{
    struct text out = {0};
    if (s->terminal)
        compose(&out, str_of(lines->p, lines->n));
    else if (s->drawn && !s->lines)
        text_add(&out, STR("\n"));
    if (!s->terminal)
        text_add(&out, str_of(lines->p, lines->n));
    s->drawn = true;
    int rc = out.failed ? out.failed : file_write(STDOUT_FILENO, str_of(out.p, out.n));
    text_release(&out);
    return rc;
}

/* ---- waiting ---- */

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Stopped by the keyboard: the terminal is the shell's until we go on. */
static void stop(struct screen *s)
{
    give_terminal(s);
    raise(SIGSTOP);
    take_terminal(s);
}

static enum screen_event on_signal(struct screen *s)
{
    struct signalfd_siginfo info;
    if (read(s->signals, &info, sizeof info) != sizeof info)
        return SCREEN_REDRAW;
    if (info.ssi_signo == SIGTSTP)
        stop(s);
    return info.ssi_signo == SIGTSTP || info.ssi_signo == SIGWINCH ? SCREEN_REDRAW : SCREEN_QUIT;
}

static enum screen_event on_key(void)
{
    char key = 0;
    ssize_t n = read(STDIN_FILENO, &key, 1);
    bool quit = n <= 0 || key == 'q' || key == 'Q' || key == 4;
    return quit ? SCREEN_QUIT : SCREEN_TIME;
}

enum screen_event screen_wait(struct screen *s, uint64_t ms)
{
    uint64_t until = now_ms() + ms;
    struct pollfd fds[2] = {{.fd = s->signals, .events = POLLIN},
        {.fd = s->keys ? STDIN_FILENO : -1, .events = POLLIN}};
    for (;;) {
        uint64_t now = now_ms();
        if (now >= until)
            return SCREEN_TIME;
        int n = poll(fds, 2, (int)(until - now));
        if (n < 0 && errno != EINTR)
            return SCREEN_QUIT;
        if (n > 0 && fds[0].revents)
            return on_signal(s);
        if (n > 0 && fds[1].revents)
            return on_key();
    }
}
