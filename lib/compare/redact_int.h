/* What the parts of redaction share. Private to lib/compare. */
#ifndef OFFSHOOT_COMPARE_REDACT_INT_H
#define OFFSHOOT_COMPARE_REDACT_INT_H

#include "lib/compare/redact.h"

/* "[redacted:1a2b3c4d]" of the bytes in place of them. */
void redact_mark(const struct redact *r, struct str secret, struct text *out);
/* Nothing is taken out: r is NULL, or by configuration. */
bool redact_is_off(const struct redact *r);
/* Text with what looks like a secret taken out, and values of secret names that stand in it
 * ("password=x", "\"token\": \"x\""); also where it is percent-encoded or escaped as in JSON.
 * True: there was something. */
bool redact_text(const struct redact *r, struct str value, struct text *out);
/* Whether redact_text would take something out. */
bool redact_finds(const struct redact *r, struct str value);

/* A secret that begins at text.p[at]: where it starts (not before from, not behind at) and how long
 * it is. False: none; ret->start: no JWT begins before it. What is before `at` is known to be none.
 */
struct secret {
    size_t start, n;
};
bool pattern_at(struct str text, size_t from, size_t at, struct secret *ret);

/* By media type. False: the body is not made like that (nothing was written to out). *ret_any:
 * something was taken out. */
bool redact_json(const struct redact *r, struct str body, struct text *out, bool *ret_any);
bool redact_form(const struct redact *r, struct str body, struct text *out, bool *ret_any);
bool redact_multipart(
    const struct redact *r, struct str type, struct str body, struct text *out, bool *ret_any);
/* Framed messages of that type (NULL: not known); what is secret is replaced or left out, lengths
 * made right again. */
bool grpc_body_redact(const struct redact *r, const struct descriptor_message *type,
    struct str body, struct text *out, bool *ret_any);

#endif
