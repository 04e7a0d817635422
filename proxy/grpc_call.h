/* What is different about a request that is a gRPC call: its deadline is its own. */
#ifndef OFFSHOOT_PROXY_GRPC_CALL_H
#define OFFSHOOT_PROXY_GRPC_CALL_H

#include "lib/wire/grpc_timeout.h"
#include "proxy/request.h"

/* A content-type of gRPC. */
bool grpc_call_type(struct str type);
/* After the decision. Finds out whether r is a call (content-type application/grpc) and takes its
 * grpc-timeout, which is kept back from the head: what is left of it is written anew. Without one a
 * call may wait for its reply as long as it likes. False: the value cannot be read. */
bool grpc_call_begin(struct request *r);
/* What is left, as a value; "" without a deadline. */
struct str grpc_call_left(const struct request *r, char out[GRPC_TIMEOUT_TEXT]);
/* The deadline has passed. */
bool grpc_call_late(const struct request *r);

#endif
