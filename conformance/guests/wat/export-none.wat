;; A component that exports nothing to call.
(component (core module $m (memory 1)) (core instance (instantiate $m)))
