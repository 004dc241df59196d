-- wrk's script: sends the requests of a file, one after the other, and writes what came of it as JSON.
-- Arguments: the file of requests, and "once" or "again". Requests are separated by a zero byte. The result's file is in BENCH_RESULT.

local ffi = require("ffi")
ffi.cdef [[
    struct bench_time { long seconds; long nanoseconds; };
    int clock_gettime(int clock, struct bench_time *found);
]]
local found = ffi.new("struct bench_time")
local function now()
    ffi.C.clock_gettime(1, found) -- The monotonic one.
    return tonumber(found.seconds) + tonumber(found.nanoseconds) / 1e9
end

local counter_of = {} -- Status -> the global variable that counts it: done() can read globals alone.
for status = 100, 599 do
    counter_of[status] = "status_" .. status
end
local threads = {}

function setup(thread)
    threads[#threads + 1] = thread
    thread:set("number", #threads)
end

function init(args)
    local file = assert(io.open(args[1] .. "." .. number, "rb"))
    requests = {}
    for text in file:read("*a"):gmatch("[^%z]+") do
        requests[#requests + 1] = text
    end
    file:close()
    again = args[2] == "again"
    sent, first, last, used_up = 0, 0, 0, 0
end

function request()
    if first == 0 then first = now() end
    if sent == #requests then
        if again then
            sent = 0
        else
            used_up = 1
            wrk.thread:stop()
            return "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" -- Nobody waits for its answer: the thread ends here.
        end
    end
    sent = sent + 1
    return requests[sent]
end

function response(status)
    local counter = counter_of[status]
    _G[counter] = (_G[counter] or 0) + 1
    last = now()
end

function done(summary, latency, _)
    local counted, first_of_all, last_of_all, ended = {}, math.huge, 0, 0
    for _, thread in ipairs(threads) do
        for status, counter in pairs(counter_of) do
            counted[status] = (counted[status] or 0) + (thread:get(counter) or 0)
        end
        first_of_all = math.min(first_of_all, thread:get("first"))
        last_of_all = math.max(last_of_all, thread:get("last"))
        ended = ended + thread:get("used_up")
    end
    local parts, errors = {}, summary.errors
    for status, times in pairs(counted) do
        if times > 0 then
            parts[#parts + 1] = string.format('"%d": %d', status, times)
        end
    end
    local out = assert(io.open(os.getenv("BENCH_RESULT"), "w"))
    out:write(string.format(
        '{"statuses": {%s}, "seconds": %.6f, "used_up": %d, "broken": %d, "p50": %.6f, "p99": %.6f}',
        table.concat(parts, ", "), last_of_all - first_of_all, ended,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
    out:close()
end
