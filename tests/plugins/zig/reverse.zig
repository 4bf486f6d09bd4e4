//! reverse.zig - reverses texts, in Zig, from the C header alone: its tables, its note and its handler.
//!
//! Reads  text      what is reversed, character by character; "panic" fails
//! Sets   reversed  the text from its end
const std = @import("std");
const c = @cImport(@cInclude("sluice/plugin.h"));

const Input = extern struct { text: c.struct_sluice_text };

const input = [_]c.struct_sluice_field{
    .{ .name = "text", .help = "what is reversed", .type = c.SLUICE_TYPE_TEXT, .offset = @offsetOf(Input, "text") },
    .{},
};
const sets = [_]c.struct_sluice_field{ .{ .name = "reversed", .type = c.SLUICE_TYPE_TEXT }, .{} };
const outcomes = [_]c.struct_sluice_outcome{ .{ .name = "done", .help = "reversed" }, .{} };

fn reversed(allocator: std.mem.Allocator, text: []const u8) ![]u8 {
    const turned = try allocator.alloc(u8, text.len);
    var characters = (try std.unicode.Utf8View.init(text)).iterator();
    var end = turned.len;
    while (characters.nextCodepointSlice()) |character| {
        end -= character.len;
        @memcpy(turned[end..][0..character.len], character);
    }
    return turned;
}

fn reverse(call: *c.struct_sluice_call) !void {
    const host = call.host.*;
    const inputs: [*]const Input = @ptrCast(@alignCast(call.inputs.?));
    var arena = std.heap.ArenaAllocator.init(std.heap.c_allocator);
    defer arena.deinit();
    for (inputs[0..call.count], 0..) |event, n| {
        const text = event.text.at[0..event.text.length];
        if (std.mem.eql(u8, text, "panic")) return error.@"a text asked for it";
        const turned = try reversed(arena.allocator(), text);
        host.set_text.?(call, n, "reversed", .{ .at = turned.ptr, .length = turned.len });
        host.outcome.?(call, n, 0);
    }
}

/// An error ends here, as a fault of its event. What panics ends the process: the engine finds its event, too.
export fn handle_reverse(_: ?*anyopaque, call: [*c]c.struct_sluice_call) void {
    reverse(call) catch |why| call.*.host.*.fault.?(call, @errorName(why));
}

const handlers = [_]c.struct_sluice_handler{
    .{
        .name = "reverse",
        .help = "reverse a text",
        .input = &input,
        .input_size = @sizeOf(Input),
        .outcomes = &outcomes,
        .sets = &sets,
        .max_events = 100,
        .handle = handle_reverse,
    },
    .{},
};

const name = "reverse";
const version = "1.0.0";
const plugin = c.struct_sluice_plugin{
    .magic = c.SLUICE_MAGIC,
    .abi_major = c.SLUICE_ABI_MAJOR,
    .abi_minor = c.SLUICE_ABI_MINOR,
    .size = @sizeOf(c.struct_sluice_plugin),
    .handler_size = @sizeOf(c.struct_sluice_handler),
    .field_size = @sizeOf(c.struct_sluice_field),
    .outcome_size = @sizeOf(c.struct_sluice_outcome),
    .reserved = c.SLUICE_UNSTABLE_NUMBER,
    .name = name,
    .version = version,
    .help = "reverses texts, in Zig",
    .handlers = &handlers,
};

export fn sluice_plugin() *const c.struct_sluice_plugin {
    return &plugin;
}

/// The same before anything of the plugin runs.
export const sluice_note: c.struct_sluice_note align(4) linksection(".note.sluice") = .{
    .owner_size = 7,
    .content_size = @sizeOf(c.struct_sluice_note) - 20,
    .type = 1,
    .owner = padded(8, "Sluice"),
    .abi_major = plugin.abi_major,
    .abi_minor = plugin.abi_minor,
    .size = plugin.size,
    .handler_size = plugin.handler_size,
    .field_size = plugin.field_size,
    .outcome_size = plugin.outcome_size,
    .name = padded(68, name),
    .version = padded(68, version),
    .reserved = .{ plugin.reserved, 0 },
};

fn padded(comptime size: usize, comptime text: []const u8) [size]u8 {
    return (text ++ [_]u8{0} ** (size - text.len)).*;
}
