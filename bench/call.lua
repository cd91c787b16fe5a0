-- wrk: the same request with one license key after the other, and the figures as one line of JSON.
-- Arguments: method, path, file with a key a line (or -), body (or nothing).

local requests, number = {}, 0

function init(args)
  math.randomseed(os.time() + os.clock() * 1e6)
  local method, path, file, body = args[1], args[2], args[3], args[4]
  if file == "-" then
    requests[1] = wrk.format(method, path, {}, body)
    return
  end
  for key in io.lines(file) do
    local headers = { ["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/json" }
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  number = math.random(#requests)
end

function request()
  number = number % #requests + 1
  return requests[number]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
