/*
 * advice.c - what to do about a connection that was not made, by libpq's words or the server's: there is no code to go
 * by before a session has begun. Words that are not in the table get no advice.
 */
#include "store/connection/connection.h"

static const struct {
    const char *words, *advice;
} advices[] = {
    {"certificate verify failed",
     "store.url expects a certificate that is signed by a CA in the file of sslrootcert and has not expired: give the "
     "CA's file there, or the server a new certificate; openssl s_client -starttls postgres -connect HOST:PORT says "
     "which of the two it is"},
    {"does not match host name",
     "sslmode=verify-full expects the host of store.url to be a name in the certificate: use such a name (hostaddr= "
     "gives its address), or give the server a certificate that has this one"},
    {"root certificate file",
     "store.url asks for a server whose certificate can be verified: sslrootcert= names the file of the CA that signed "
     "it"},
    {"server does not support SSL", "store.url asks for TLS (sslmode) and the server has it off: set ssl = on with its "
                                    "ssl_cert_file and ssl_key_file, "
                                    "or sslmode=disable where nobody else is on the network"},
    {"requires a valid client certificate",
     "the server's pg_hba.conf asks for a certificate of the client: sslcert= and sslkey= in store.url name its files"},
    {"alert unknown ca",
     "the server expects the certificate of sslcert to be signed by a CA of its ssl_ca_file: give the client one that "
     "is, or add its CA there"},
    {"alert certificate expired", "the certificate of sslcert has expired: give the client a new one"},
    {"no encryption",
     "the server's pg_hba.conf lets nobody in without TLS from there: add sslmode=verify-full and sslrootcert= to "
     "store.url"},
    {"password authentication failed", "the user or the password of store.url is not what the server expects"},
    {"no password supplied", "the server expects a password: give it in store.url, taken from the environment"},
    {"unsupported startup parameter", /* PgBouncer's */
     "a connection pooler in between refuses the settings of the engine's sessions: store.url must lead to the server "
     "itself"},
};

const char *connection_advice(const char *text)
{
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++)
        if (strstr(text, advices[i].words) != NULL)
            return advices[i].advice;
    return NULL;
}
