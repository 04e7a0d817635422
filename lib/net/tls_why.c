/* Why a handshake or a connection failed: OpenSSL's reasons, sorted. */
#include "lib/net/tls_impl.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

const char *tls_failure_word(enum tls_failure f)
{
    static const char *const words[TLS_FAIL_COUNT] = {"closed", "timeout", "busy", "not-tls",
        "http-request", "version", "no-shared-cipher", "no-protocol", "unknown-name",
        "no-certificate", "unknown-ca", "expired", "wrong-name", "bad-certificate", "alert",
        "flood", "protocol", "no-memory"};
    return words[f];
}

static enum tls_failure of_verify(long result)
{
    switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return TLS_FAIL_EXPIRED;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return TLS_FAIL_UNKNOWN_CA;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return TLS_FAIL_WRONG_NAME;
    case X509_V_ERR_OUT_OF_MEM:
        return TLS_FAIL_NO_MEMORY;
    default:
        return TLS_FAIL_BAD_CERT;
    }
}

static enum tls_failure of_reason(int reason)
{
    switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return TLS_FAIL_HTTP;
    case SSL_R_WRONG_VERSION_NUMBER:
        return TLS_FAIL_NOT_TLS;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_UNKNOWN_PROTOCOL:
        return TLS_FAIL_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_CIPHERS_SPECIFIED:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_CERTIFICATE_SET:
        return TLS_FAIL_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return TLS_FAIL_ALPN;
    case SSL_R_CALLBACK_FAILED: /* on_name */
        return TLS_FAIL_NAME;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return TLS_FAIL_NO_CERT;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return TLS_FAIL_CLOSED;
    case ERR_R_MALLOC_FAILURE:
        return TLS_FAIL_NO_MEMORY;
    default:
        return reason >= SSL_AD_REASON_OFFSET ? TLS_FAIL_ALERT : TLS_FAIL_PROTOCOL;
    }
}

enum tls_failure tls_why(const SSL *ssl, unsigned long code, struct err *text)
{
    const char *side = SSL_is_server(ssl) ? "client" : "provider";
    int reason = ERR_GET_REASON(code);
    if (code == 0) {
        err_set(text, -ECONNRESET, "the %s closed the connection", side);
        return TLS_FAIL_CLOSED;
    }
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        long result = SSL_get_verify_result(ssl);
        err_set(text, -EACCES, "the %s's certificate is refused: %s", side,
            X509_verify_cert_error_string(result));
        return of_verify(result);
    }
    enum tls_failure f = ERR_GET_LIB(code) == ERR_LIB_SSL ? of_reason(reason) : TLS_FAIL_PROTOCOL;
    const char *said = ERR_reason_error_string(code);
    if (f == TLS_FAIL_ALERT)
        err_set(text, -EACCES, "the %s refuses us: TLS alert '%s'", side,
            SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
    else if (f == TLS_FAIL_NAME)
        err_set(text, -EACCES, "no certificate for the name '%s'",
            SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
                ? SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
                : "");
    else
        err_set(text, -EPROTO, "%s", said ? said : "unknown");
    return f;
}
