#!lua flags=allow-oom
-- Close the hold of a request that was never served; posts only what is not given back.
-- KEYS  1 meta  2 admin  3 expiry  4 journal  5 hold  6… one balance per posting  then, with a notice, the board
-- ARGV  1 now_ms or ''  2 schema  3 id  4 payload  5 record  6 due holds to name
--       7 ms for which the closed hold is remembered  8 `process kept_ms lines` of a notice, or ''
--       then per posting: `amount end_ms limit bucket_ms kept_ms steps` (end 0: none; bucket 0: not rolling)
--       then, with a notice, its text
-- Reply {'closed', now, state, detail, n, (`posted held limit frees frozen`)×n, due…}
--       and, with a notice, (`process at_ms text`)×k of others, k
--       {'conflict', state}   {'no_ledger'}   {'other_schema', found}
return close('release')
