"""What the masks of M3D-Seg show: the names of every constituent set, in the order of its channels.

The lists are those of M3D's `dataset_info.py` (Bai et al., 2024), which names lumbar vertebra L2 of the
sets 0014 and 0015 "L1" a second time; here it is L2, and T13 has no comma in its name.
"""

_NAMES = {
    "0000": "liver",
    "0001": (
        "carotid artery left; carotid artery right; arytenoid; bone mandible; brainstem; buccal "
        "mucosa; oral cavity; cochlea left; cochlea right; cricopharyngeal inlet; cervical "
        "esophagus; anterior eyeball left; anterior eyeball right; posterior eyeball left; "
        "posterior eyeball right; lacrimal gland left; lacrimal gland right; submandibular gland "
        "left; submandibular gland right; thyroid; larynx glottis; larynx supraglottic; lips; "
        "optic chiasm; optic nerve left; optic nerve right; parotid gland left; parotid gland "
        "right; pituitary gland; spinal cord"
    ),
    "0002": (
        "spleen; right kidney; left kidney; gall bladder; esophagus; liver; stomach; aorta; "
        "postcava; pancreas; right adrenal gland; left adrenal gland; duodenum; bladder; prostate "
        "or uterus"
    ),
    "0003": "liver; kidney; spleen; pancreas",
    "0004": "kidney; kidney tumor; kidney cyst",
    "0005": "renal vein; kidney; renal artery; tumor",
    "0006": "kidney; kidney tumor",
    "0007": (
        "spleen; right kidney; left kidney; gallbladder; esophagus; liver; stomach; aorta; "
        "inferior vena cava; portal vein and splenic vein; pancreas; right adrenal gland; left "
        "adrenal gland"
    ),
    "0008": "pancreas",
    "0009": (
        "stones; artery; biliary system; bladder; bone; colon; gallbladder; heart; kidneys; left "
        "kidney; left lung; left suprarenal gland; left suprarenal tumor; liver; liver cyst; "
        "liver kyst; liver kyste; liver tumor; liver tumor 01; liver tumor 02; liver tumor 03; "
        "liver tumor 04; liver tumor 05; liver tumor 06; liver tumor 07; liver tumor 1; liver "
        "tumor 2; liver tumors; lungs; metal; metastasectomie; pancreas; portal vein; portal vein "
        "1; right kidney; right lung; right suprarenal gland; right suprarenal tumor; skin; small "
        "intestin; spleen; stomach; suprarenal gland; tumor; uterus; vena cava; venous system"
    ),
    "0010": (
        "liver; right kidney; spleen; pancreas; aorta; inferior vena cava; right adrenal gland; "
        "left adrenal gland; gallbladder; esophagus; stomach; duodenum; left kidney"
    ),
    "0011": (
        "adrenal gland left; adrenal gland right; aorta; autochthon left; autochthon right; "
        "brain; clavicula left; clavicula right; colon; duodenum; esophagus; face; femur left; "
        "femur right; gallbladder; gluteus maximus left; gluteus maximus right; gluteus medius "
        "left; gluteus medius right; gluteus minimus left; gluteus minimus right; heart atrium "
        "left; heart atrium right; heart myocardium; heart ventricle left; heart ventricle right; "
        "hip left; hip right; humerus left; humerus right; iliac artery left; iliac artery right; "
        "iliac vena left; iliac vena right; iliopsoas left; iliopsoas right; inferior vena cava; "
        "kidney left; kidney right; liver; lung lower lobe left; lung lower lobe right; lung "
        "middle lobe right; lung upper lobe left; lung upper lobe right; pancreas; portal vein "
        "and splenic vein; pulmonary artery; rib left 1; rib left 10; rib left 11; rib left 12; "
        "rib left 2; rib left 3; rib left 4; rib left 5; rib left 6; rib left 7; rib left 8; rib "
        "left 9; rib right 1; rib right 10; rib right 11; rib right 12; rib right 2; rib right 3; "
        "rib right 4; rib right 5; rib right 6; rib right 7; rib right 8; rib right 9; sacrum; "
        "scapula left; scapula right; small bowel; spleen; stomach; trachea; urinary bladder; "
        "vertebrae C1; vertebrae C2; vertebrae C3; vertebrae C4; vertebrae C5; vertebrae C6; "
        "vertebrae C7; vertebrae L1; vertebrae L2; vertebrae L3; vertebrae L4; vertebrae L5; "
        "vertebrae T1; vertebrae T10; vertebrae T11; vertebrae T12; vertebrae T2; vertebrae T3; "
        "vertebrae T4; vertebrae T5; vertebrae T6; vertebrae T7; vertebrae T8; vertebrae T9"
    ),
    "0012": "liver; bladder; lungs; kidneys; bone; brain",
    "0013": (
        "liver; spleen; kidney left; kidney right; stomach; gallbladder; esophagus; pancreas; "
        "duodenum; colon; intestine; adrenal; rectum; bladder; head of femur left; head of femur "
        "right"
    ),
    "0014": (
        "cervical spine C1; cervical spine C2; cervical spine C3; cervical spine C4; cervical "
        "spine C5; cervical spine C6; cervical spine C7; thoracic spine T1; thoracic spine T2; "
        "thoracic spine T3; thoracic spine T4; thoracic spine T5; thoracic spine T6; thoracic "
        "spine T7; thoracic spine T8; thoracic spine T9; thoracic spine T10; thoracic spine T11; "
        "thoracic spine T12; lumbar spine L1; lumbar spine L2; lumbar spine L3; lumbar spine L4; "
        "lumbar spine L5; lumbar spine L6; sacrum; coccygis; additional 13th thoracic vertebra "
        "T13"
    ),
    "0015": (
        "cervical spine C1; cervical spine C2; cervical spine C3; cervical spine C4; cervical "
        "spine C5; cervical spine C6; cervical spine C7; thoracic spine T1; thoracic spine T2; "
        "thoracic spine T3; thoracic spine T4; thoracic spine T5; thoracic spine T6; thoracic "
        "spine T7; thoracic spine T8; thoracic spine T9; thoracic spine T10; thoracic spine T11; "
        "thoracic spine T12; lumbar spine L1; lumbar spine L2; lumbar spine L3; lumbar spine L4; "
        "lumbar spine L5; lumbar spine L6; sacrum; coccygis; additional 13th thoracic vertebra "
        "T13"
    ),
    "0016": "liver",
    "0017": "kidney; pancreas; pancreatic lesion",
    "0018": "colon cancer",
    "0019": "hepatic vessels; tumour",
    "0020": "liver; tumour",
    "0021": "lung tumours",
    "0022": "pancreas; tumour",
    "0023": "spleen",
    "0024": "left lung; right lung; trachea",
    "0025": (
        "aorta; gall bladder; left kidney; right kidney; liver; pancreas; postcava; spleen; stomach"
    ),
}
M3D_NAMES = {tag: tuple(names.split("; ")) for tag, names in _NAMES.items()}
