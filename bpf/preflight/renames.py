"""Fields, functions and tracepoints that the kernel has renamed or moved, as programs know them.

Its promise: a hint for words only. No verdict is taken from this table; the kernel's types decide.
Source: the kernel's history; the commit or release stands with each row.

Not here: deciding (``bpf.preflight.relocation``, ``bpf.preflight.attach``).
"""

from __future__ import annotations

#: (struct, field) → what became of it.
FIELDS: dict[tuple[str, str], str] = {
    ("task_struct", "state"): "kernels ≥ 5.14 call it `__state`",  # 2f064a59a11f
    ("task_struct", "__state"): "kernels < 5.14 call it `state`",
    ("task_struct", "cpu"): "kernels ≥ 5.16 keep it in `thread_info.cpu`",  # bcf9033e5449
    ("thread_info", "cpu"): "kernels < 5.16 keep it in `task_struct.cpu` (x86)",
    ("task_struct", "real_start_time"): "kernels ≥ 5.5 call it `start_boottime`",  # cf25e24db61c
    ("task_struct", "start_boottime"): "kernels < 5.5 call it `real_start_time`",
    ("mm_struct", "rss_stat"): "kernels ≥ 6.2 have an array of percpu_counter there",  # f1a7941243c1
    ("bpf_prog_aux", "stats"): "kernels ≥ 5.12 keep it in `bpf_prog.stats`",  # 700d4796ef59
    ("bio", "bi_disk"): "kernels ≥ 5.12 have `bi_bdev` in its place",  # 309dca309fc3
    ("bio", "bi_bdev"): "kernels 4.14 to 5.11 have `bi_disk` in its place",
    ("request", "rq_disk"): "kernels ≥ 5.17 have `q->disk` in its place",  # f3fa33acca9f
    ("request_queue", "disk"): "kernels < 5.15 have `request.rq_disk` in its place",  # d152c682f03c
    ("inode", "i_ctime"): "kernels ≥ 6.6 call it `__i_ctime`, ≥ 6.11 `i_ctime_sec`",  # 13bc24457850
    ("inode", "i_mtime"): "kernels ≥ 6.7 call it `__i_mtime`, ≥ 6.11 `i_mtime_sec`",  # 12cd44023651
    ("inode", "i_atime"): "kernels ≥ 6.7 call it `__i_atime`, ≥ 6.11 `i_atime_sec`",
    ("kernfs_node", "parent"): "kernels ≥ 6.15 call it `__parent`",  # 633488947ef6
    ("kernfs_node", "__parent"): "kernels < 6.15 call it `parent`",
    ("file", "f_count"): "kernels ≥ 6.13 call it `f_ref`",  # 90ee6ed776c0
    ("page", "slab_cache"): "kernels ≥ 5.17 have it in `struct slab`",  # d122019bf061
    ("task_struct", "loginuid"): "only kernels with CONFIG_AUDIT have it",
    ("task_struct", "audit"): "only kernels with CONFIG_AUDITSYSCALL have it",
    ("cgroup", "id"): "kernels ≥ 5.5 have it in `kn->id`",  # 743210386c03
    ("sock", "__sk_common"): "every kernel has it: the object's own struct sock is not the kernel's",
    ("hrtimer", "function"): "kernels ≥ 6.16 keep it private",  # 244132c4e577
}
#: Function → what became of it.
FUNCTIONS: dict[str, str] = {
    "_do_fork": "kernels ≥ 5.10 call it kernel_clone",  # cad6967ac108
    "kernel_clone": "kernels < 5.10 call it _do_fork",
    "blk_account_io_start": "kernels 5.16 to 6.4 call it __blk_account_io_start",  # be6bfe36db17
    "blk_account_io_done": "kernels 5.16 to 6.4 call it __blk_account_io_done, or inline it",
    "__blk_account_io_start": "other kernels call it blk_account_io_start, or inline it",
    "__blk_account_io_done": "other kernels call it blk_account_io_done, or inline it",
    "add_to_page_cache_lru": "kernels ≥ 5.16 call it filemap_add_folio",  # 9dd3d069406c
    "filemap_add_folio": "kernels < 5.16 call it add_to_page_cache_lru",
    "mark_page_accessed": "kernels ≥ 5.16 call it folio_mark_accessed",  # 76580b6529db
    "folio_mark_accessed": "kernels < 5.16 call it mark_page_accessed",
    "account_page_dirtied": "kernels ≥ 5.16 call it folio_account_dirtied, or inline it",  # 203a31516616
    "__page_cache_alloc": "kernels ≥ 5.16 call it filemap_alloc_folio",  # bb3c579e25e5
    "filemap_alloc_folio": "kernels < 5.16 call it __page_cache_alloc; ≥ 6.10 filemap_alloc_folio_noprof",
    "__do_page_cache_readahead": "kernels ≥ 5.10 call it do_page_cache_ra",  # 8238287eadb2
    "do_page_cache_ra": "kernels < 5.10 call it __do_page_cache_readahead",
    "do_sys_open": "kernels ≥ 5.6 open files in do_sys_openat2",  # fddb5d430ad9
    "tcp_v4_syn_recv_sock": "it is there unless inlined",
    "__get_user_pages_remote": "kernels ≥ 5.9 inline it",
    "kmem_cache_alloc": "kernels ≥ 6.10 call it kmem_cache_alloc_noprof",  # 7bd230a26648
    "__kmalloc": "kernels ≥ 6.10 call it __kmalloc_noprof",
    "__alloc_pages": "kernels ≥ 6.10 call it __alloc_pages_noprof",  # b951aaff5035
    "vfs_create": "its parameters changed in 5.12, 6.3 and 6.19",
    "ext4_file_open": "it is in the module ext4 where ext4 is a module",
    "tcp_sendpage": "kernels ≥ 6.5 have no sendpage",  # dc97391e6610
    "inet_listen": "it is there unless inlined",
}
#: Tracepoint → what became of it.
TRACEPOINTS: dict[str, str] = {
    "mm_filemap_add_to_page_cache": "",
    "kfree_skb": "its parameters changed in 5.17, 6.11 and 6.15",
    "block_rq_insert": "kernels ≥ 5.11 pass no request_queue",  # a54895fa057c
    "block_rq_issue": "kernels ≥ 5.11 pass no request_queue",
    "block_rq_complete": "its error is another type since 5.16",
    "sched_switch": "kernels ≥ 5.18 pass prev_state as well",  # fa2c3254d7cf
    "cpu_frequency": "",
    "softirq_entry": "kernels ≥ 6.11 may call it only when it is on",
    "kmem_cache_alloc_node": "kernels ≥ 6.1 have kmem_cache_alloc alone",  # 11e9734bcb6a
    "kmalloc_node": "kernels ≥ 6.1 have kmalloc alone",
    "tcp_receive_reset": "",
}
