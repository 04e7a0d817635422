/* Secrets are taken out before anything is stored or shown.
 *
 * What goes: values of fields, keys, parameters and cookies whose names say so (password, secret,
 * token, authorization, cookie, api-key, session, card numbers ... and names given by the session),
 * and texts that look like one anywhere (JWT, bearer values, PEM keys, long card numbers that pass
 * Luhn, e-mail addresses). In their place stands "[redacted:" and 8 hex digits of a keyed hash "]",
 * so that equal secrets look equal within one session and nobody can guess them. */
#ifndef OFFSHOOT_COMPARE_REDACT_H
#define OFFSHOOT_COMPARE_REDACT_H

#include "lib/base/counters.h"
#include "lib/base/err.h"
#include "lib/base/str.h"
#include <stdbool.h>
#include <stdint.h>

struct redact;
struct descriptor_message;
struct redact_options {
    const char *const *names; /* further words; a name that contains one is secret (any case) */
    size_t nnames;
    bool off;              /* only by explicit configuration */
    unsigned char key[16]; /* of the hash; random, one a session */
};
/* NULL with e (memory, or a bad word; at most 1,000 of 128 bytes). Options are copied. Used by one
 * thread at a time, although it is const below: it has a context of SHA-256. NULL in place of it
 * redacts nothing. */
struct redact *redact_new(const struct redact_options *o, struct err *e);
void redact_free(struct redact *r);

/* A field, key, parameter or cookie of that name holds a secret. */
bool redact_name(const struct redact *r, struct str name);
/* A value of that name (may be empty), into out: as it is, or redacted whole or in part. True:
 * something was taken out. */
bool redact_value(const struct redact *r, struct str name, struct str value, struct text *out);
/* The query of a path. */
bool redact_path(const struct redact *r, struct str path, struct text *out);
/* cookie and set-cookie keep names and attributes, authorization its scheme. */
bool redact_field(const struct redact *r, struct str name, struct str value, struct text *out);
/* A body by its media type: JSON, forms (urlencoded, multipart), gRPC strings, text. Content coding
 * must be undone before (inflate.h). What is none of these, or too deep, is redacted as text where
 * it is valid UTF-8, else dropped whole when a pattern is found in its bytes. messages: the type of
 * gRPC messages (descriptors_request, descriptors_reply), so that the names of their fields count
 * too; NULL: not known, only patterns do. Messages that are not what their type says go whole. */
bool redact_body(const struct redact *r, struct str media_type,
    const struct descriptor_message *messages, struct str body, struct text *out);

#endif
