#include "lib/net/grpc_impl.h"
const struct grpc_method grpc_reflect_methods[] = {{NULL, NULL}};
const size_t grpc_nreflect_methods = 0;
