#!lua flags=allow-oom
-- Close the hold of a request that was never served; posts only what is not given back.
-- KEYS  1 meta  2 admin  3 expiry  4 journal  5 hold  6… one balance per posting
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 member of the expiry set  7 postings n
--       8 due holds to name  9 ms for which the closed hold is remembered
--       then per posting: identity  window  end_ms (0: none)  limit  steps  amount
-- Reply {'closed', now, state, detail, n, (posted, held, limit, frozen)×n, due…}
--       {'conflict', state}   {'no_ledger'}   {'other_schema', found}
return close('release')
