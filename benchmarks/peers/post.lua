-- The wire's limit: wrk posts one body over and over.
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer benchmark"
wrk.headers["Content-Type"] = "application/json"
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.body = file:read("*l")
file:close()
