/* One header field as a view of bytes, and the numbers of the names that the product knows.
 *
 * The neutral form in which a head passes between the codecs (lib/wire), the domain (lib/graph)
 * and the proxy. A name's number is looked up once, when the head is parsed; everything later
 * compares numbers. Names are lower case here: the codec lowers them in place. */
#ifndef OFFSHOOT_BASE_FIELD_H
#define OFFSHOOT_BASE_FIELD_H

#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum field_id {
    FIELD_OTHER = 0,
    FIELD_HOST,
    FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH,
    FIELD_TRANSFER_ENCODING,
    FIELD_TE,
    FIELD_TRAILER,
    FIELD_UPGRADE,
    FIELD_KEEP_ALIVE,
    FIELD_PROXY_CONNECTION,
    FIELD_EXPECT,
    FIELD_VIA,
    FIELD_DATE,
    FIELD_ACCEPT,
    FIELD_COOKIE,
    FIELD_CONTENT_TYPE,
    FIELD_HTTP2_SETTINGS,
    FIELD_X_FORWARDED_FOR,
    FIELD_X_FORWARDED_PROTO,
    FIELD_X_FORWARDED_HOST,
    FIELD_FORWARDED,
    FIELD_X_FORWARDED_PORT,
    FIELD_X_REQUEST_ID,
    FIELD_BAGGAGE,
    FIELD_TRACEPARENT,
    FIELD_TRACESTATE,
    /* Ours. Any spelling ('-' or '_', any case) has this number; see field_id. */
    FIELD_X_OFFSHOOT_CONTEXT,
    FIELD_UBERCTX_OFFSHOOT,
    FIELD_OT_BAGGAGE_OFFSHOOT,
    FIELD_X_OFFSHOOT_EXPLAIN,
    FIELD_X_OFFSHOOT_ERROR,
    FIELD_X_OFFSHOOT_ROUTE,
    FIELD_X_OFFSHOOT_OTHER, /* any other name that starts with x-offshoot- */
    FIELD_ID_COUNT
};

/* Sets of field numbers. */
#define FIELD_BIT(id) (UINT64_C(1) << (id))
_Static_assert(FIELD_ID_COUNT <= 64, "field numbers fit a bit set");

enum field_flag {
    FIELD_HOP = 1,  /* hop-by-hop: never forwarded */
    FIELD_DROP = 2, /* the proxy decided not to forward it */
};

struct field {
    const char *name;  /* lower case */
    const char *value; /* without surrounding white space */
    uint32_t value_len;
    uint16_t name_len;
    uint8_t id;    /* enum field_id */
    uint8_t flags; /* enum field_flag */
};

static inline struct str field_name(const struct field *f)
{
    return (struct str){f->name, f->name_len};
}
static inline struct str field_value(const struct field *f)
{
    return (struct str){f->value, f->value_len};
}

/* The next element of a comma list, without its white space; empty ones are passed over
 * (RFC 9110 section 5.6.1.2). False at the end. */
bool field_next_element(struct str *rest, struct str *ret_element);

/* Number of a lower-case name. Only our own names (x-offshoot-*, uberctx-offshoot,
 * ot-baggage-offshoot) and `baggage`'s companions are matched with '_' standing for '-';
 * content_length is an ordinary FIELD_OTHER. Constant time in the number of known names. */
enum field_id field_id(const char *name, size_t len);
/* The canonical lower-case name, "" for FIELD_OTHER and FIELD_X_OFFSHOOT_OTHER. */
struct str field_id_name(enum field_id id);

#endif
