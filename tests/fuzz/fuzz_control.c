/* Any bytes as the messages of the control stream, both ways. What can be read is written again and
 * read again to the same bytes; an agent's go into a proxy's judgement, which may let in only what
 * has the digest that was stated, and answers each Stage at most once a message. */
#include "lib/base/mem.h"
#include "lib/base/pballoc.h"
#include "lib/graph/codec.h"
#include "proto/offshoot/v1/control.pb-c.h"
#include "proxy/sync_stage.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

#define LIMIT (1u << 20)

static unsigned char history[HISTORY_ID] = "fuzz-history-16";
static struct model_endpoint endpoint = {.weight = 1};
static struct model_statement statement;
static struct model_env main_env, *envs[] = {&main_env};
static struct model_service cart, *services[] = {&cart};

/* main and cart, epoch 1: what a difference builds on. */
static struct snapshot *base_new(void)
{
    struct snapshot *s = NULL;
    struct model m = {.envs = envs, .nenvs = 1, .services = services, .nservices = 1};
    endpoint.addr = (struct addr){.kind = ADDR_IP4, .ip = {10, 0, 0, 1}, .port = 80};
    cart.name.s = STR("cart");
    statement = (struct model_statement){.service.s = STR("cart"),
        .kind = STATEMENT_PROVIDES,
        .endpoints = &endpoint,
        .nendpoints = 1};
    main_env = (struct model_env){
        .name.s = STR("main"), .mode = MODE_BASELINE, .statements = &statement, .nstatements = 1};
    if (snapshot_compile(&s, NULL, &m, 1, NULL, NULL) < 0)
        abort();
    return s;
}

/* Read, written, read: the same bytes from then on. Returns the message, or NULL. */
static ProtobufCMessage *round_trip(const ProtobufCMessageDescriptor *d, struct str bytes)
{
    ProtobufCMessage *m = pb_unpack(d, bytes, pb_budget(bytes.n));
    if (!m)
        return NULL;
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *once = mem_alloc(n + 1), *twice = mem_alloc(n + 1);
    if (!once || !twice || protobuf_c_message_pack(m, once) != n)
        abort();
    ProtobufCMessage *again = pb_unpack(d, str_of((char *)once, n), pb_budget(n) * 2);
    if (again) { /* what was read within its budget may be above that of the shorter form */
        if (protobuf_c_message_get_packed_size(again) != n ||
            protobuf_c_message_pack(again, twice) != n || memcmp(once, twice, n) != 0)
            abort();
        pb_free(again);
    }
    mem_free(once);
    mem_free(twice);
    return m;
}

static void judge(struct stage_in *in, const Offshoot__V1__Stage *m, struct snapshot *base)
{
    struct stage_view v = {
        .history = history, .held = {base}, .nheld = 1, .newest = 1, .limit = LIMIT};
    struct stage_answer a;
    stage_take(in, m, &v, &a);
    if (stage_bytes(in) > LIMIT || (a.result == STAGE_REFUSED) != (a.text[0] != '\0') ||
        (a.result == STAGE_READY) != (a.snapshot != NULL))
        abort();
    for (const char *c = a.text; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            abort();
    if (!a.snapshot)
        return;
    if (m->digest.len != 32 || memcmp(m->digest.data, snapshot_digest(a.snapshot), 32) != 0 ||
        snapshot_epoch(a.snapshot) != m->epoch)
        abort();
    snapshot_unref(a.snapshot);
}

/* Messages one after the other, each after two bytes of length, lowest first. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot *base = base_new();
    struct stage_in *in = stage_new();
    if (!in)
        abort();
    while (size > 2) {
        size_t n = (size_t)data[0] | (size_t)data[1] << 8;
        n = n < size - 2 ? n : size - 2;
        struct str bytes = str_of((const char *)data + 2, n);
        pb_free(round_trip(&offshoot__v1__proxy_message__descriptor, bytes));
        Offshoot__V1__AgentMessage *m = (Offshoot__V1__AgentMessage *)round_trip(
            &offshoot__v1__agent_message__descriptor, bytes);
        if (m && m->message_case == OFFSHOOT__V1__AGENT_MESSAGE__MESSAGE_STAGE)
            judge(in, m->stage, base);
        pb_free((ProtobufCMessage *)m);
        data += 2 + n;
        size -= 2 + n;
    }
    stage_free(in);
    snapshot_unref(base);
    return 0;
}
