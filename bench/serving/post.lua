-- For wrk: the same POST again and again. What is sent comes from the environment; the figures go out as one line of JSON.

function init(args)
   local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
   wrk.method = "POST"
   wrk.body = file:read("*a")
   file:close()
   wrk.headers["Content-Type"] = os.getenv("BENCH_CONTENT_TYPE")
   local length = os.getenv("BENCH_HEADER_LENGTH")
   if length then wrk.headers["Inference-Header-Content-Length"] = length end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      'figures {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
