/*
 * sluice/plugin.hpp - the contract of plugin.h for authors who write C++17 or later: fields that come from members,
 * rows that are walked through, and a border over which no exception goes. Header only, above plugin.h.
 *
 *   Types      Members of an input or of settings are text, json, int64_t, double, boolean, duration or bytes. Such a
 *              struct is filled by the engine: a standard layout, nothing that owns anything.
 *   Ownership  As in plugin.h: what a call hands out lives until its handler returns, what is handed in is copied.
 *   Errors     An exception out of a handler is a fault of the plugin with its what(): the transaction is rolled back,
 *              and the events are handled again, one a call when there were several; the engine and its lane go on.
 *              A statement that failed ends the handler by `statement_failed`, of which the engine knows why.
 *   Threads    As in plugin.h: one state for each lane, never two calls on it at once.
 */
#ifndef SLUICE_PLUGIN_HPP
#define SLUICE_PLUGIN_HPP

#include "sluice/plugin.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

namespace sluice {

/* ----------------------------------------------------------------------------------------------- types of members */

struct text : sluice_text {
    constexpr text() : sluice_text{nullptr, 0} {}
    constexpr text(sluice_text from) : sluice_text{from} {}
    constexpr text(std::string_view from) : sluice_text{from.data() == nullptr ? "" : from.data(), from.size()} {}
    constexpr bool absent() const { return at == nullptr; }
    constexpr operator std::string_view() const { return {at, length}; }
    std::string str() const { return std::string{std::string_view{*this}}; }
};
struct json : text { /* the bytes of a JSON value */
    using text::text;
};
struct boolean {
    int32_t value;
    constexpr operator bool() const { return value != 0; }
};
struct duration {
    int64_t ms;
    constexpr operator std::chrono::milliseconds() const { return std::chrono::milliseconds{ms}; }
    constexpr explicit operator int64_t() const { return ms; }
};
struct bytes {
    int64_t count;
    constexpr operator int64_t() const { return count; }
};

namespace inside {
template <class T> inline constexpr uint32_t type_of = 0; /* of no other: SLUICE_TYPE_* start at 1 */
template <> inline constexpr uint32_t type_of<text> = SLUICE_TYPE_TEXT;
template <> inline constexpr uint32_t type_of<json> = SLUICE_TYPE_JSON;
template <> inline constexpr uint32_t type_of<int64_t> = SLUICE_TYPE_INT64;
template <> inline constexpr uint32_t type_of<double> = SLUICE_TYPE_DOUBLE;
template <> inline constexpr uint32_t type_of<boolean> = SLUICE_TYPE_BOOL;
template <> inline constexpr uint32_t type_of<duration> = SLUICE_TYPE_DURATION;
template <> inline constexpr uint32_t type_of<bytes> = SLUICE_TYPE_SIZE;

template <class T> inline constexpr bool is_text = std::is_convertible_v<const T &, std::string_view>;
template <class T> inline constexpr bool is_filled = std::is_standard_layout_v<T> &&std::is_trivially_copyable_v<T>;
} // namespace inside

/* ---------------------------------------------------------------------------------------------------------- tables */

namespace inside {
/* A copy of `whole` with another value of a member of its row. */
template <class Whole, class Row, class T>
constexpr Whole with(Whole whole, T Row::*member, std::common_type_t<T> value)
{
    whole.row.*member = value;
    return whole;
}
} // namespace inside

/* Rows and the one that ends them. */
template <class Row, size_t N> struct table {
    Row rows[N + 1];
};

/* A row of a table of fields; each function gives a changed copy. */
struct field {
    struct sluice_field row;

    constexpr field help(const char *words) const { return inside::with(*this, &sluice_field::help, words); }
    constexpr field choices(const char *words) const { return inside::with(*this, &sluice_field::choices, words); }
    constexpr field min(int64_t value) const { return inside::with(*this, &sluice_field::min, value); }
    constexpr field max(int64_t value) const { return inside::with(*this, &sluice_field::max, value); }
    constexpr field secret() const { return inside::with(*this, &sluice_field::flags, row.flags | SLUICE_SECRET); }
    /* May be absent: then it is `fallback`, as it would be written in pipeline.yaml, or {NULL, 0} or 0. */
    constexpr field optional(const char *fallback = nullptr) const
    {
        return inside::with(inside::with(*this, &sluice_field::flags, row.flags | SLUICE_OPTIONAL),
                            &sluice_field::fallback, fallback);
    }
    /* The key in the event's data, where the member has another name. */
    constexpr field named(const char *name) const { return inside::with(*this, &sluice_field::name, name); }
    /* Inside of an object of the data: "address.country". */
    constexpr field at(const char *path) const { return inside::with(named(path), &sluice_field::nested, 1U); }
    /* Filled from the event itself. */
    constexpr field meta(enum sluice_meta which) const
    {
        uint32_t type = row.type == SLUICE_TYPE_TEXT ? SLUICE_TYPE_META_TEXT : SLUICE_TYPE_META_INT64;
        return inside::with(inside::with(*this, &sluice_field::type, type), &sluice_field::meta,
                            static_cast<uint32_t>(which));
    }
};

template <class T> constexpr field field_at(const char *name, size_t offset)
{
    static_assert(inside::type_of<T> != 0, "a member is text, json, int64_t, double, boolean, duration or bytes");
    field made{};
    made.row.name = name;
    made.row.offset = offset;
    made.row.type = inside::type_of<T>;
    return made;
}
/* SLUICE_FIELD(struct, member): its name, place and type. */
#define SLUICE_FIELD(owner, member) ::sluice::field_at<decltype(owner::member)>(#member, offsetof(owner, member))

/* A row of a handler's `sets`: sets<sluice::text>("greeting"). */
template <class T> constexpr field sets(const char *name)
{
    return field_at<T>(name, 0);
}

template <size_t N> constexpr table<struct sluice_field, N> fields(const field (&rows)[N])
{
    table<struct sluice_field, N> made{};
    for (size_t i = 0; i < N; i++)
        made.rows[i] = rows[i].row;
    return made;
}

template <size_t N> constexpr table<struct sluice_outcome, N> outcomes(const struct sluice_outcome (&rows)[N])
{
    table<struct sluice_outcome, N> made{};
    for (size_t i = 0; i < N; i++)
        made.rows[i] = rows[i];
    return made;
}

/* ------------------------------------------------------------------------------------------------------------ rows */

namespace inside {
/* What a range-based for walks with. */
template <class Of> struct place {
    const Of *of;
    size_t at;
    auto operator*() const { return (*of)[at]; }
    place &operator++()
    {
        at++;
        return *this;
    }
    bool operator!=(const place &other) const { return at != other.at; }
};
} // namespace inside

class row {
  public:
    row(const struct sluice_host *host, const struct sluice_rows *rows, size_t at) : host_{host}, rows_{rows}, at_{at}
    {
    }
    bool is_null(size_t column) const { return host_->is_null(rows_, at_, column) != 0; }
    /* An integer, an enum, a double, text or json, or std::string. */
    template <class T> T get(size_t column) const
    {
        if constexpr (std::is_floating_point_v<T>)
            return static_cast<T>(host_->get_double(rows_, at_, column));
        else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>)
            return static_cast<T>(host_->get_int64(rows_, at_, column));
        else
            return T{text{host_->get_text(rows_, at_, column)}};
    }
    /* The first columns: auto [n, decision] = row.as<size_t, size_t>() */
    template <class... T> std::tuple<T...> as() const { return as_<T...>(std::index_sequence_for<T...>{}); }

  private:
    template <class... T, size_t... I> std::tuple<T...> as_(std::index_sequence<I...>) const
    {
        return std::tuple<T...>{get<T>(I)...};
    }
    const struct sluice_host *host_;
    const struct sluice_rows *rows_;
    size_t at_;
};

class rows {
  public:
    rows(const struct sluice_host *host, const struct sluice_rows *from) : host_{host}, rows_{from} {}
    size_t size() const { return host_->row_count(rows_); }
    row operator[](size_t at) const { return {host_, rows_, at}; }
    inside::place<rows> begin() const { return {this, 0}; }
    inside::place<rows> end() const { return {this, size()}; }

  private:
    const struct sluice_host *host_;
    const struct sluice_rows *rows_;
};

/* Ends a handler whose statement failed; no std::exception, so that nobody catches it by chance. */
struct statement_failed {};

/* ----------------------------------------------------------------------------------------------------------- calls */

namespace inside {
/* A parameter, and its value when it is a single one. */
struct parameter {
    struct sluice_param row;
    int64_t number;
    double real;
    int32_t flag;
    struct sluice_text words;
    const void *value() const
    {
        return row.type == SLUICE_TYPE_INT64    ? static_cast<const void *>(&number)
               : row.type == SLUICE_TYPE_DOUBLE ? static_cast<const void *>(&real)
               : row.type == SLUICE_TYPE_BOOL   ? static_cast<const void *>(&flag)
                                                : static_cast<const void *>(&words);
    }
};

/* A column of the inputs: &charge::amount. */
template <class Input, class T> parameter parameter_of(const Input *first, T Input::*member)
{
    auto offset = reinterpret_cast<const char *>(&(first->*member)) - reinterpret_cast<const char *>(first);
    return {{SLUICE_PARAM_EACH, type_of<T>, static_cast<size_t>(offset), nullptr, 0}, 0, 0, 0, {}};
}
/* An array of the plugin's own. Durations and sizes go to the server as numbers. */
template <class Input, class T> parameter parameter_of(const Input *, const std::vector<T> &values)
{
    constexpr bool number = std::is_same_v<T, duration> || std::is_same_v<T, bytes>;
    return {{SLUICE_PARAM_ARRAY, number ? type_of<int64_t> : type_of<T>, 0, values.data(), values.size()}, 0, 0, 0, {}};
}
/* A single value. */
template <class Input, class T> parameter parameter_of(const Input *, const T &value)
{
    parameter made{{SLUICE_PARAM_VALUE, SLUICE_TYPE_INT64, 0, nullptr, 1}, 0, 0, 0, {}};
    if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, boolean>) {
        made.row.type = SLUICE_TYPE_BOOL;
        made.flag = value ? 1 : 0;
    } else if constexpr (std::is_floating_point_v<T>) {
        made.row.type = SLUICE_TYPE_DOUBLE;
        made.real = value;
    } else if constexpr (is_text<T>) {
        made.row.type = std::is_same_v<T, json> ? SLUICE_TYPE_JSON : SLUICE_TYPE_TEXT;
        made.words = text{value};
    } else {
        made.number = static_cast<int64_t>(value);
    }
    return made;
}
} // namespace inside

struct nothing {}; /* the input of a handler that wants no field */

/* One event of a call, or one that add() made. */
template <class Input> class event {
  public:
    event(struct sluice_call *call, size_t at) : n{at}, call_{call} {}
    const Input &operator*() const { return static_cast<const Input *>(call_->inputs)[n]; }
    const Input *operator->() const { return &**this; }
    /* What is known of it beside its fields. */
    const struct sluice_event &about() const
    {
        return *reinterpret_cast<const struct sluice_event *>(reinterpret_cast<const char *>(call_->events) +
                                                              n * call_->events->size);
    }
    template <class Outcome> void outcome(Outcome which) const
    {
        call_->host->outcome(call_, n, static_cast<size_t>(which));
    }
    void retry(const std::string &why) const { call_->host->retry(call_, n, why.c_str()); }
    void reject(const std::string &why) const { call_->host->reject(call_, n, why.c_str()); }
    void reply(uint32_t status, std::string_view body, uint32_t flags = 0) const
    {
        call_->host->reply(call_, n, status, text{body}, flags);
    }
    template <class T> void set(const char *name, const T &value) const
    {
        if constexpr (std::is_same_v<T, json>)
            call_->host->set_json(call_, n, name, value);
        else if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, boolean>)
            call_->host->set_bool(call_, n, name, value ? 1 : 0);
        else if constexpr (std::is_floating_point_v<T>)
            call_->host->set_double(call_, n, name, value);
        else if constexpr (is_same_text<T>)
            call_->host->set_text(call_, n, name, value);
        else if constexpr (inside::is_text<T>)
            call_->host->set_text(call_, n, name, text{std::string_view{value}});
        else
            call_->host->set_int64(call_, n, name, static_cast<int64_t>(value));
    }
    const size_t n;

  private:
    template <class T> static constexpr bool is_same_text = std::is_base_of_v<struct sluice_text, T>;
    struct sluice_call *call_;
};

template <class Input = nothing> class call {
  public:
    static_assert(inside::is_filled<Input>, "the engine fills an input: members of the types above, and nothing else");
    using input = Input;
    explicit call(struct sluice_call *from) : raw{from} {}
    call(const call &) = delete;
    call &operator=(const call &) = delete;

    size_t size() const { return raw->count; }
    event<Input> operator[](size_t n) const { return {raw, n}; }
    inside::place<call> begin() const { return {this, 0}; }
    inside::place<call> end() const { return {this, size()}; }

    /* Each parameter is a column of the inputs (&charge::amount), an array (a vector), or a single value. */
    template <class... Parameters> rows query(const struct sluice_sql &sql, const Parameters &...parameters) const
    {
        const Input *first = static_cast<const Input *>(raw->inputs);
        inside::parameter made[] = {inside::parameter_of(first, parameters)..., {}};
        struct sluice_param params[sizeof...(Parameters) + 1];
        for (size_t i = 0; i < sizeof...(Parameters); i++) {
            params[i] = made[i].row;
            if (params[i].form == SLUICE_PARAM_VALUE)
                params[i].values = made[i].value();
        }
        const struct sluice_rows *found = raw->host->query(raw, &sql, sizeof...(Parameters), params);
        if (found == nullptr)
            throw statement_failed{};
        return {raw->host, found};
    }
    /* One more event; of it there are no fields to read. */
    template <class Outcome> event<Input> add(Outcome which) const
    {
        size_t n = raw->host->add(raw, static_cast<size_t>(which));
        if (n == SIZE_MAX)
            throw std::length_error{"add() made as many events as a call may"};
        return {raw, n};
    }
    void unavailable(const std::string &why) const { raw->host->unavailable(raw, why.c_str()); }
    void log(enum sluice_log_level level, const std::string &words) const { raw->host->log(raw, level, words.c_str()); }
    int64_t now_ms() const { return raw->host->now_ms(raw); }
    int64_t time_left_ms() const { return raw->host->time_left_ms(raw); }

    struct sluice_call *const raw;
};

/* ----------------------------------------------------------------------------------------------------------- state */

namespace inside {
/* What the engine keeps for a lane. A state that is a struct of settings is that struct; a class with a type
 * `settings` inside is made from these (`T(const T::settings &, uint32_t lane)`) and destroyed at the end. */
template <class State, class = void> struct kept {
    static_assert(is_filled<State>, "a state that owns something has a type `settings` inside, and is made from these");
    static constexpr size_t size = std::is_empty_v<State> ? 0 : sizeof(State);
    static constexpr int (*open)(void *, struct sluice_opening *) = nullptr;
    static constexpr void (*close)(void *) = nullptr;
    static State &of(void *state) { return *static_cast<State *>(state); }
};
template <class State> struct kept<State, std::void_t<typename State::settings>> {
    struct slot {
        typename State::settings settings;
        State *made;
    };
    static_assert(is_filled<slot>, "the engine fills settings: members of the types above, and nothing else");
    static constexpr size_t size = sizeof(slot);
    static int open(void *state, struct sluice_opening *opening) noexcept
    {
        slot *own = static_cast<slot *>(state);
        try {
            own->made = new State(own->settings, opening->lane);
            return 0;
        } catch (const std::exception &wrong) {
            opening->fail(opening, wrong.what());
        } catch (...) {
            opening->fail(opening, "an exception that is no std::exception");
        }
        return -1;
    }
    static void close(void *state) noexcept { delete static_cast<slot *>(state)->made; }
    static State &of(void *state) { return *static_cast<slot *>(state)->made; }
};

template <auto Function> struct border;
template <class Input, void (*Function)(call<Input> &)> struct border<Function> {
    using input = Input;
    static void run(void *, call<Input> &call) { Function(call); }
};
template <class State, class Input, void (*Function)(State &, call<Input> &)> struct border<Function> {
    using input = Input;
    static void run(void *state, call<Input> &call) { Function(kept<std::remove_const_t<State>>::of(state), call); }
};

template <auto Function> void handle(void *state, struct sluice_call *raw) noexcept
{
    try {
        call<typename border<Function>::input> call{raw};
        border<Function>::run(state, call);
    } catch (const statement_failed &) {
        return; /* the engine knows why, and gives every event of this call its verdict */
    } catch (const std::exception &wrong) {
        raw->host->fault(raw, wrong.what());
    } catch (...) {
        raw->host->fault(raw, "an exception that is no std::exception");
    }
}
} // namespace inside

/* ------------------------------------------------------------------------------------------------------ descriptor */

/* handler<charge>("charge", "take the points"), where charge is void (State &, call<Input> &) or void (call<Input> &);
 * each function gives a changed copy. */
struct handler_row {
    struct sluice_handler row;

    template <size_t N> constexpr handler_row input(const table<struct sluice_field, N> &of) const
    {
        return inside::with(*this, &sluice_handler::input, of.rows);
    }
    template <size_t N> constexpr handler_row outcomes(const table<struct sluice_outcome, N> &of) const
    {
        return inside::with(*this, &sluice_handler::outcomes, of.rows);
    }
    template <size_t N> constexpr handler_row sets(const table<struct sluice_field, N> &of) const
    {
        return inside::with(*this, &sluice_handler::sets, of.rows);
    }
    constexpr handler_row max_events(uint32_t most) const
    {
        return inside::with(*this, &sluice_handler::max_events, most);
    }
    constexpr handler_row kind(enum sluice_handler_kind which) const
    {
        return inside::with(*this, &sluice_handler::kind, static_cast<uint32_t>(which));
    }
    constexpr handler_row uses_store() const { return inside::with(*this, &sluice_handler::uses_store, 1U); }
};

template <auto Function> constexpr handler_row handler(const char *name, const char *help)
{
    using input = typename inside::border<Function>::input;
    handler_row made{};
    made.row.name = name;
    made.row.help = help;
    made.row.input_size = std::is_empty_v<input> ? 0 : sizeof(input);
    made.row.handle = inside::handle<Function>;
    made.row.max_events = 1;
    return made;
}

template <size_t N> constexpr table<struct sluice_handler, N> handlers(const handler_row (&rows)[N])
{
    table<struct sluice_handler, N> made{};
    for (size_t i = 0; i < N; i++)
        made.rows[i] = rows[i].row;
    return made;
}

struct descriptor {
    struct sluice_plugin row;

    template <size_t N> constexpr descriptor settings(const table<struct sluice_field, N> &of) const
    {
        descriptor copy = *this;
        copy.row.settings = of.rows;
        return copy;
    }
    template <size_t N> constexpr descriptor handlers(const table<struct sluice_handler, N> &of) const
    {
        descriptor copy = *this;
        copy.row.handlers = of.rows;
        return copy;
    }
};

template <class State = nothing> constexpr descriptor plugin(const char *name, const char *version, const char *help)
{
    using kept = inside::kept<State>;
    return {sluice_plugin_of_({name, version, help, nullptr, kept::size, kept::open, kept::close, nullptr})};
}

} // namespace sluice

/* Defines the one exported function, and its note: SLUICE_EXPORT_PLUGIN(sluice::plugin<payment>("payment", …)) */
#define SLUICE_EXPORT_PLUGIN(...)                                                                                      \
    static constexpr ::sluice::descriptor sluice_described_ = __VA_ARGS__;                                             \
    SLUICE_NOTE_(sluice_described_.row.name, sluice_described_.row.version)                                            \
    extern "C" SLUICE_EXPORT const struct sluice_plugin *sluice_plugin(void)                                           \
    {                                                                                                                  \
        return &sluice_described_.row;                                                                                 \
    }

#endif
