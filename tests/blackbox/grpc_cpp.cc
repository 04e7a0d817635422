// A gRPC server and client by the C++ library, for the tests. No generated code: messages are
// bytes.
//
//   grpc_cpp serve ADDRESS NAME
//       The methods of /t.Echo/, as the service NAME. Prints `ready listen=…`, a line for the start
//       of each call with its fields, and one for its end that says whether it was cancelled.
//   grpc_cpp call ADDRESS METHOD [OPTION | MESSAGE]...
//       One call, or many over one channel. Prints its first fields, its messages, its status and
//       its last fields. A message is text, or @SIZE for that many bytes.
//         -m KEY=VALUE  a field      -d MS  a deadline           -c N  cancel after N messages
//         -t  ask and read in turns  -u  as a unary call         -p N  threads   -r N  calls of
//         each -a FILE       TLS, with this CA                        -n NAME  the server's name in
//         it
//       Equal calls are told once, with their number.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <zlib.h>

namespace {

using Fields = std::multimap<grpc::string_ref, grpc::string_ref>;

void *const OP = reinterpret_cast<void *>(1);   // the operation a call waits for
void *const OVER = reinterpret_cast<void *>(2); // the call is over

std::string to_text(const grpc::ByteBuffer &bytes)
{
    std::string text;
    std::vector<grpc::Slice> slices;
    if (bytes.Valid() && bytes.Dump(&slices).ok()) {
        for (const auto &s : slices) {
            text.append(reinterpret_cast<const char *>(s.begin()), s.size());
        }
    }
    return text;
}

grpc::ByteBuffer to_bytes(const std::string &text)
{
    grpc::Slice slice(text);
    return grpc::ByteBuffer(&slice, 1);
}

// Text as it is, other bytes and blanks as %XX, so that a line is a line.
std::string shown(const std::string &text)
{
    std::string out;
    for (unsigned char c : text) {
        char code[4];
        std::snprintf(code, sizeof(code), "%%%02X", c);
        out += c > ' ' && c < 127 && c != '%' ? std::string(1, static_cast<char>(c)) : code;
    }
    return out;
}

std::string shown(const char *word, const Fields &fields)
{
    std::string out;
    for (const auto &f : fields) {
        const std::string name(f.first.data(), f.first.size());
        const std::string value(f.second.data(), f.second.size());
        out += std::string(word) + ' ' + name + '=' + shown(value) + '\n';
    }
    return out;
}

void say(const std::string &text)
{
    static std::mutex lock;
    const std::lock_guard<std::mutex> held(lock);
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

// ---- the server: a thread for each call, which waits on a queue of its own

class Call {
  public:
    explicit Call(const std::string &n) : name(n)
    {
    }

    void accept(grpc::AsyncGenericService &service, grpc::ServerCompletionQueue *calls)
    {
        context.AsyncNotifyWhenDone(OVER);
        service.RequestCall(&context, &stream, &queue, calls, this);
    }

    void run()
    {
        const std::string method = context.method();
        const auto left = context.deadline() - std::chrono::system_clock::now();
        const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
        const bool limited = context.deadline() != std::chrono::system_clock::time_point::max();
        say("call " + method + " deadline " + (limited ? std::to_string(ms) : "none") + '\n' +
            shown("field", context.client_metadata()));
        serve(method);
        while (!over) {
            next();
        }
        say("end " + method + (context.IsCancelled() ? " cancelled\n" : " whole\n"));
    }

  private:
    // Waits for one event; ok of the operation.
    bool next()
    {
        void *tag = nullptr;
        bool ok = false;
        do {
            if (!queue.Next(&tag, &ok)) {
                std::abort();
            }
            over = over || tag == OVER;
        } while (tag == OVER && pending);
        pending = false;
        return ok;
    }

    bool done()
    {
        pending = true;
        return next();
    }

    bool read(std::string &text)
    {
        grpc::ByteBuffer bytes;
        stream.Read(&bytes, OP);
        const bool ok = done();
        text = to_text(bytes);
        return ok;
    }

    bool write(const std::string &text)
    {
        stream.Write(to_bytes(text), OP);
        return done();
    }

    bool finish(const grpc::Status &status)
    {
        stream.Finish(status, OP);
        return done();
    }

    bool answer(const std::string &text)
    {
        stream.WriteAndFinish(to_bytes(text), grpc::WriteOptions(), grpc::Status::OK, OP);
        return done();
    }

    void serve(const std::string &method)
    {
        static const std::map<std::string, void (Call::*)()> methods = {
            {"/t.Echo/Unary", &Call::unary},
            {"/t.Echo/Count", &Call::count},
            {"/t.Echo/Sum", &Call::sum},
            {"/t.Echo/Echo", &Call::echo},
            {"/t.Echo/Fail", &Call::fail},
            {"/t.Echo/Sleep", &Call::sleep},
            {"/t.Echo/Endless", &Call::endless},
        };
        const auto found = methods.find(method);
        if (found == methods.end()) {
            finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no such method"));
        } else {
            (this->*found->second)();
        }
    }

    void unary()
    {
        std::string text;
        read(text);
        context.AddInitialMetadata("x-first", "one");
        context.AddTrailingMetadata("x-last", "two");
        context.AddTrailingMetadata("x-bytes-bin", std::string("\0\xff", 2));
        answer(name + ':' + text);
    }

    void count()
    {
        std::string text;
        bool ok = read(text);
        for (int i = 0; ok && i < std::atoi(text.c_str()); i++) {
            ok = write(std::to_string(i));
        }
        finish(grpc::Status::OK);
    }

    void sum()
    {
        std::string text;
        size_t total = 0;
        while (read(text)) {
            total += text.size();
        }
        answer(std::to_string(total));
    }

    void echo()
    {
        std::string text;
        while (read(text) && write(text)) {
        }
        finish(grpc::Status::OK);
    }

    // Without a message: the fields and the status arrive together.
    void fail()
    {
        context.AddTrailingMetadata("x-why", "because");
        finish(grpc::Status(grpc::StatusCode::DATA_LOSS, "lost: 100 % \u00e4"));
    }

    // Until the time is up, or the client has gone.
    void sleep()
    {
        std::string text;
        read(text);
        const auto until =
            std::chrono::system_clock::now() +
            std::chrono::milliseconds(static_cast<long>(std::atof(text.c_str()) * 1000));
        void *tag = nullptr;
        bool ok = false;
        if (!over) {
            over = queue.AsyncNext(&tag, &ok, until) == grpc::CompletionQueue::GOT_EVENT;
        }
        answer("late");
    }

    void endless()
    {
        std::string text;
        bool ok = read(text);
        while (ok) {
            ok = write(std::string(65536, '\0'));
        }
        finish(grpc::Status::OK);
    }

    const std::string &name;
    grpc::CompletionQueue queue;
    grpc::GenericServerContext context;
    grpc::GenericServerAsyncReaderWriter stream{&context};
    bool over = false;
    bool pending = false;
};

int serve(const std::string &address, const std::string &name)
{
    grpc::AsyncGenericService service;
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    builder.RegisterAsyncGenericService(&service);
    const auto calls = builder.AddCompletionQueue();
    const auto server = builder.BuildAndStart();
    if (!server) {
        std::fprintf(stderr, "cannot listen on '%s'\n", address.c_str());
        return 1;
    }
    say("ready listen=" + address.substr(0, address.rfind(':') + 1) + std::to_string(port) + '\n');
    auto call = std::make_unique<Call>(name);
    call->accept(service, calls.get());
    void *tag = nullptr;
    bool ok = false;
    while (calls->Next(&tag, &ok) && ok) {
        std::thread([c = std::move(call)] { c->run(); }).detach();
        call = std::make_unique<Call>(name);
        call->accept(service, calls.get());
    }
    return 1;
}

// ---- the client

struct Options {
    std::string address, method, ca, name;
    std::vector<std::pair<std::string, std::string>> fields;
    std::vector<std::string> messages;
    long deadline_ms = 0;
    long cancel_after = -1;
    int threads = 1;
    int repeats = 1;
    bool in_turns = false;
    bool unary = false;
};

std::string message_of(const std::string &word)
{
    if (word.empty() || word[0] != '@') {
        return word;
    }
    std::string text(static_cast<size_t>(std::atol(word.c_str() + 1)), '\0');
    for (size_t i = 0; i < text.size(); i++) {
        text[i] = static_cast<char>(i % 251);
    }
    return text;
}

std::string told(const std::string &message)
{
    if (message.size() <= 64) {
        return "message " + shown(message) + '\n';
    }
    const auto sum = crc32(0, reinterpret_cast<const Bytef *>(message.data()), message.size());
    return "message of " + std::to_string(message.size()) + " sum " + std::to_string(sum) + '\n';
}

// One call as the client sees it.
class Asked {
  public:
    explicit Asked(const Options &o) : options(o)
    {
        for (const auto &f : o.fields) {
            context.AddMetadata(f.first, f.second);
        }
        if (o.deadline_ms > 0) {
            context.set_deadline(
                std::chrono::system_clock::now() + std::chrono::milliseconds(o.deadline_ms));
        }
    }

    std::string run(grpc::GenericStub &stub)
    {
        if (options.unary) {
            unary(stub);
        } else {
            streamed(stub);
        }
        return shown("first", context.GetServerInitialMetadata()) + got + "status " +
               std::to_string(status.error_code()) + ' ' + shown(status.error_message()) + '\n' +
               shown("last", context.GetServerTrailingMetadata());
    }

  private:
    bool done()
    {
        void *tag = nullptr;
        bool ok = false;
        return queue.Next(&tag, &ok) && ok;
    }

    void unary(grpc::GenericStub &stub)
    {
        const std::string text = options.messages.empty() ? "" : message_of(options.messages[0]);
        const auto asked = stub.PrepareUnaryCall(&context, options.method, to_bytes(text), &queue);
        grpc::ByteBuffer bytes;
        asked->StartCall();
        asked->Finish(&bytes, &status, OP);
        done();
        if (status.ok()) {
            got = told(to_text(bytes));
        }
    }

    // A stream both ways, which the other kinds of calls are cases of.
    void streamed(grpc::GenericStub &stub)
    {
        call = stub.PrepareCall(&context, options.method, &queue);
        call->StartCall(OP);
        bool ok = done();
        if (options.in_turns) {
            for (size_t i = 0; ok && i < options.messages.size(); i++) {
                call->Write(to_bytes(message_of(options.messages[i])), OP);
                ok = done() && read();
            }
            call->WritesDone(OP);
            done();
            while (ok && read()) {
            }
        } else if (ok) {
            both_ways();
        }
        call->Finish(&status, OP);
        done();
    }

    bool read()
    {
        grpc::ByteBuffer bytes;
        call->Read(&bytes, OP);
        return done() && take(bytes);
    }

    // False when that was enough: the call is cancelled.
    bool take(const grpc::ByteBuffer &bytes)
    {
        got += told(to_text(bytes));
        count++;
        if (count != options.cancel_after) {
            return true;
        }
        context.TryCancel();
        return false;
    }

    // Writes and reads at once: OVER is the tag of writes here.
    void both_ways()
    {
        size_t sent = 0;
        bool writing = true;
        bool reading = true;
        grpc::ByteBuffer bytes;
        call->Read(&bytes, OP);
        send(sent++);
        while (reading || writing) {
            void *tag = nullptr;
            bool ok = false;
            queue.Next(&tag, &ok);
            if (tag == OP) {
                reading = ok && take(bytes);
                if (reading) {
                    call->Read(&bytes, OP);
                }
            } else {
                writing = ok && sent <= options.messages.size();
                if (writing) {
                    send(sent++);
                }
            }
        }
    }

    void send(size_t i)
    {
        if (i < options.messages.size()) {
            call->Write(to_bytes(message_of(options.messages[i])), OVER);
        } else {
            call->WritesDone(OVER);
        }
    }

    const Options &options;
    grpc::CompletionQueue queue;
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call;
    grpc::Status status;
    std::string got;
    long count = 0;
};

std::shared_ptr<grpc::Channel> channel_of(const Options &o)
{
    grpc::ChannelArguments arguments;
    auto credentials = grpc::InsecureChannelCredentials();
    if (!o.ca.empty()) {
        std::stringstream text;
        text << std::ifstream(o.ca).rdbuf();
        grpc::SslCredentialsOptions tls;
        tls.pem_root_certs = text.str();
        credentials = grpc::SslCredentials(tls);
    }
    if (!o.name.empty()) {
        arguments.SetSslTargetNameOverride(o.name);
    }
    return grpc::CreateCustomChannel(o.address, credentials, arguments);
}

int call(const Options &o)
{
    grpc::GenericStub stub(channel_of(o));
    std::map<std::string, int> outcomes;
    std::mutex lock;
    std::vector<std::thread> threads;
    for (int i = 0; i < o.threads; i++) {
        threads.emplace_back([&] {
            for (int n = 0; n < o.repeats; n++) {
                const std::string outcome = Asked(o).run(stub);
                const std::lock_guard<std::mutex> held(lock);
                outcomes[outcome]++;
            }
        });
    }
    for (auto &t : threads) {
        t.join();
    }
    for (const auto &outcome : outcomes) {
        say("calls " + std::to_string(outcome.second) + '\n' + outcome.first);
    }
    return 0;
}

bool parse(int argc, char **argv, Options &o)
{
    for (int i = 0; i < argc; i++) {
        const std::string word = argv[i];
        if (word.size() != 2 || word[0] != '-') {
            o.messages.push_back(word);
        } else if (word == "-t") {
            o.in_turns = true;
        } else if (word == "-u") {
            o.unary = true;
        } else if (++i == argc) {
            return false;
        } else if (word == "-m") {
            const std::string field = argv[i];
            const size_t end = field.find('=');
            if (end == std::string::npos) {
                return false;
            }
            o.fields.emplace_back(field.substr(0, end), field.substr(end + 1));
        } else if (word == "-a" || word == "-n") {
            (word == "-a" ? o.ca : o.name) = argv[i];
        } else if (word == "-d" || word == "-c") {
            (word == "-d" ? o.deadline_ms : o.cancel_after) = std::atol(argv[i]);
        } else if (word == "-p" || word == "-r") {
            (word == "-p" ? o.threads : o.repeats) = std::atoi(argv[i]);
        } else {
            return false;
        }
    }
    return true;
}

} // namespace

int main(int argc, char **argv)
{
    Options o;
    if (argc == 4 && !std::strcmp(argv[1], "serve")) {
        return serve(argv[2], argv[3]);
    }
    if (argc >= 4 && !std::strcmp(argv[1], "call") && parse(argc - 4, argv + 4, o)) {
        o.address = argv[2];
        o.method = std::string("/t.Echo/") + argv[3];
        return call(o);
    }
    std::fprintf(
        stderr, "usage: grpc_cpp serve ADDRESS NAME | call ADDRESS METHOD [OPTION | MESSAGE]...\n");
    return 2;
}
