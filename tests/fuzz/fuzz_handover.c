/* Any bytes as a message between two processes of a binary upgrade: what is taken is within its
 * bounds, and is written again as it was. */
#include "proxy/handover.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of((const char *)data, size);
    struct handover m;
    struct err e = {0};
    char out[HANDOVER_MESSAGE_MAX];
    if (handover_parse(text, &m, &e) != 0) {
        if (e.code == 0 || strlen(e.text) >= sizeof e.text)
            abort();
        return 0;
    }
    if (m.kind >= HANDOVER_KINDS || m.key.n > HANDOVER_KEY_MAX ||
        !str_eq(str_of(out, handover_format(&m, out)), text))
        abort();
    return 0;
}
