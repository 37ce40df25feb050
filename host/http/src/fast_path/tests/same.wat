(component
    (core module $m (func (export "handle") (param i32) (result i32) (local.get 0)))
    (core instance $i (instantiate $m))
    (func (export "handle") (param "n" s32) (result s32) (canon lift (core func $i "handle"))))
