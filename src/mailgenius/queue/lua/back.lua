--- include lanes time events frames dead leases
-- Gives back a lease whose worker has died, as told by somebody who saw it.
-- KEYS  1 the queue
-- ARGV  1 time (tests)   2 worker   3 token   4 indexes of the jobs it had begun, as big-endian 16 bit numbers
-- Gives how many jobs wait again; 0 if the lease is not the worker's any more.
local lease = lease_read(ARGV[3])
if not lease or lease.worker ~= ARGV[2] then return 0 end
local begun = {}
for i = 1, #ARGV[4], 2 do begun[string.byte(ARGV[4], i) * 256 + string.byte(ARGV[4], i + 1)] = true end
return give_back(ARGV[3], begun)
